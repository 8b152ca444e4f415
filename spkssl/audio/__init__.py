"""Audio: reading, Kaldi-compatible features, augmentation, the synthesised corpus."""
