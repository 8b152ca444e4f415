"""Utterances on disk become batches."""
