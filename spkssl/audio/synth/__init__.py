"""A synthesised speaker-verification corpus: source-filter voices, rooms, noises and channels, from a seed."""
