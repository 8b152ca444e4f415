"""spkssl: self-supervised speaker verification, from recordings without labels to an equal error rate."""

__version__ = "0.1.0"
