"""EM training of two-covariance PLDA (Kaldi ivector-compute-plda, PldaEstimator)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spkssl.backend.class_stats import ClassStats, require_trainable
from spkssl.backend.plda_model import PldaModel, diagonalise, from_covariances

Array = NDArray[np.float64]


def train_plda(stats: ClassStats, iterations: int = 10) -> tuple[PldaModel, list[float]]:
    """The model, and the log-likelihood per vector before each iteration and at the end; it never decreases."""
    require_trainable(stats, "PLDA")
    mean = stats.class_means.mean(axis=0)  # classes, not vectors, weigh the same
    centres, scatter = stats.class_means - mean, stats.within
    within, between = np.eye(stats.dim), np.eye(stats.dim)
    objective = []
    for _ in range(iterations):
        within, between, value = _iterate(within, between, centres, scatter, stats.counts)
        objective.append(value)
    model = from_covariances(mean, within, between)
    objective.append(_objective(model.transform, model.psi, centres @ model.transform.T, scatter, stats.counts))
    return model, objective


def _iterate(
    within: Array, between: Array, centres: Array, scatter: Array, counts: Array
) -> tuple[Array, Array, float]:
    """One EM step, in the basis of A W A^T = I, A B A^T = diag(psi).

    There V_k = (B^-1 + n_k W^-1)^-1 is diag(psi / (1 + n_k psi)), so a class costs D instead of a D x D inverse, and
    a psi of zero needs no care.
    """
    A, psi = diagonalise(within, between)
    d = centres @ A.T  # (K, D)
    value = _objective(A, psi, d, scatter, counts)
    n = counts[:, None]
    V = psi / (1 + n * psi)  # (K, D)
    w = n * V * d  # w_k = V_k n_k W^-1 d_k
    rest = (d - w) * np.sqrt(n)
    # B <- 1/K sum_k (V_k + w_k w_k^T);  W <- 1/N [S + sum_k n_k (V_k + (d_k - w_k)(d_k - w_k)^T)]
    new_between = (np.diag(V.sum(axis=0)) + w.T @ w) / len(counts)
    new_within = (np.diag((n * V).sum(axis=0)) + rest.T @ rest) / counts.sum()
    back = np.linalg.inv(A)
    return back @ new_within @ back.T + scatter / counts.sum(), back @ new_between @ back.T, value


def _objective(A: Array, psi: Array, d: Array, scatter: Array, counts: Array) -> float:
    """Log-likelihood per vector; `d` are the class offsets in the basis of A."""
    dim, num_classes, total = len(psi), len(counts), counts.sum()
    log_det_within = -2 * np.linalg.slogdet(A)[1]
    constant = log_det_within + dim * np.log(2 * np.pi)
    trace = np.einsum("ij,ij->", A @ scatter, A)  # tr(W^-1 S)
    variances = psi + 1 / counts[:, None]  # (K, D) of B + W / n_k
    classes = num_classes * constant + np.log(variances).sum() + (d**2 / variances).sum()
    return float(-0.5 * ((total - num_classes) * constant + trace + classes) / total)
