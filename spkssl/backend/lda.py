"""LDA and PCA whitening as affine maps (Kaldi ivector-compute-lda; transform-vec applies them)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from spkssl.backend.class_stats import ClassStats, require_trainable
from spkssl.errors import complain

Array = NDArray[np.float64]

_FLOOR = 1e-6  # of the largest eigenvalue: ivector-compute-lda --covar-floor


@dataclass(frozen=True)
class Affine:
    matrix: Array  # (d, D + 1), the last column is the offset, as Kaldi stores it

    def __call__(self, x: Array) -> Array:
        """(N, D) -> (N, d)."""
        return x @ self.matrix[:, :-1].T + self.matrix[:, -1]


def compute_lda(stats: ClassStats, dim: int, total_covariance_factor: float = 0.0) -> tuple[Affine, Array]:
    """The map and the `dim` largest ratios of between- to within-class variance."""
    require_trainable(stats, "LDA")
    _check_dim(dim, stats.dim, "LDA")
    within = stats.within / stats.num_vectors
    between = stats.between / stats.num_vectors
    # Q = f T + (1 - f) W, T = W + B
    s, U = scipy.linalg.eigh(within + total_covariance_factor * between)
    whiten = (U / np.sqrt(np.maximum(s, _FLOOR * s[-1]))).T  # (D, D)
    ratios, V = scipy.linalg.eigh(whiten @ between @ whiten.T)
    rows = V[:, ::-1][:, :dim].T @ whiten  # (d, D)
    return _about(rows, stats.mean), ratios[::-1][:dim]


def compute_whitening(stats: ClassStats, dim: int, eps: float = 0.0) -> tuple[Affine, Array]:
    """PCA whitening diag((s + eps)^-1/2) U^T of the total covariance, and its `dim` largest eigenvalues."""
    _check_dim(dim, stats.dim, "PCA")
    s, U = scipy.linalg.eigh(stats.total / stats.num_vectors)
    s, U = s[::-1][:dim], U[:, ::-1][:, :dim]
    scale = np.maximum(s + eps, _FLOOR * (s[0] + eps))
    return _about((U / np.sqrt(scale)).T, stats.mean), s


def _about(rows: Array, mean: Array) -> Affine:
    return Affine(np.hstack([rows, -(rows @ mean)[:, None]]))


def _check_dim(dim: int, limit: int, where: str) -> None:
    if not 1 <= dim <= limit:
        raise complain(where, f"cannot keep {dim} dimensions of {limit}", f"choose a dim from 1 to {limit}")
