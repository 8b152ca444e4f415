"""What the toolkit reads and writes: Kaldi tables, archives, data directories, trials, scores."""
