"""Sufficient statistics of labelled vectors, in one pass: all that LDA and PLDA training need of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spkssl.backend.vectors import blocks
from spkssl.errors import complain

Transform = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class ClassStats:
    """Counts, class means and scatter; classes without vectors are dropped."""

    counts: NDArray[np.float64]  # (K,)
    class_means: NDArray[np.float64]  # (K, D)
    total: NDArray[np.float64]  # (D, D) sum of (x - mean)(x - mean)^T
    mean: NDArray[np.float64]  # (D,) of all vectors

    @property
    def num_vectors(self) -> int:
        return int(self.counts.sum())

    @property
    def dim(self) -> int:
        return len(self.mean)

    @property
    def between(self) -> NDArray[np.float64]:
        """(D, D) sum of n_k (m_k - mean)(m_k - mean)^T."""
        offsets = self.class_means - self.mean
        return (offsets * self.counts[:, None]).T @ offsets

    @property
    def within(self) -> NDArray[np.float64]:
        """(D, D) sum of (x - m_k)(x - m_k)^T."""
        return self.total - self.between


def stats_of_blocks(parts: Iterable[tuple[NDArray[Any], NDArray[np.int64]]], num_classes: int) -> ClassStats:
    """Statistics of a stream of (vectors, labels); label -1 = left out. Holds (K, D) and (D, D), never the data."""
    counts = np.zeros(num_classes)
    sums = gram = shift = None
    for x, labels in parts:
        kept = labels >= 0
        if not kept.any():
            continue
        x, labels = np.asarray(x, np.float64)[kept], labels[kept]
        if shift is None:
            # Second moments about a point near the mean: about the origin they would lose the digits of a far mean.
            shift = x.mean(axis=0)
            sums, gram = np.zeros((num_classes, x.shape[1])), np.zeros((x.shape[1], x.shape[1]))
        x = x - shift
        counts += np.bincount(labels, minlength=num_classes)
        sums += csr_array((np.ones(len(x)), (labels, np.arange(len(x)))), shape=(num_classes, len(x))) @ x
        gram += x.T @ x
    if shift is None:
        raise complain("training embeddings", "no embedding has a label (all are left out)")
    seen = counts > 0
    mean = sums.sum(axis=0) / counts.sum()
    total = gram - counts.sum() * np.outer(mean, mean)
    return ClassStats(counts[seen], sums[seen] / counts[seen, None] + shift, total, mean + shift)


def stats_of(x: NDArray[Any], labels: NDArray[np.int64], transform: Transform | None = None) -> ClassStats:
    """Statistics of an array, read (and transformed) in blocks of rows."""
    num_classes = int(labels.max(initial=-1)) + 1

    def parts() -> Iterable[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        for part in blocks(len(x)):
            rows = x[part].astype(np.float64)
            yield (transform(rows) if transform else rows), labels[part]

    return stats_of_blocks(parts(), num_classes)


def require_trainable(stats: ClassStats, where: str) -> None:
    """Kaldi's conditions: more vectors than dimensions, and a class with two vectors."""
    if stats.num_vectors <= stats.dim:
        what = f"{stats.num_vectors} labelled embeddings are too few (expected more than the dimension {stats.dim})"
        raise complain(where, what)
    if stats.counts.max() < 2:
        raise complain(where, "every class has one embedding, so there is nothing within classes to measure")
