"""Unsupervised adaptation of PLDA to another domain (Kaldi ivector-adapt-plda)."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from spkssl.backend.plda_model import PldaModel, from_covariances
from spkssl.backend.vectors import RowError, blocks
from spkssl.errors import complain


def moments(x: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (D,) and population covariance (D, D), read in blocks."""
    if len(x) < 2:
        raise complain("PLDA adaptation", f"{len(x)} embeddings are too few (expected 2 or more)")
    mean = x.mean(axis=0, dtype=np.float64)
    if not np.isfinite(mean).all():
        raise RowError(int(np.argmin(np.isfinite(x).all(axis=1))), "holds NaN or infinity")
    gram = np.zeros((x.shape[1], x.shape[1]))
    for part in blocks(len(x)):
        centred = x[part].astype(np.float64) - mean
        gram += centred.T @ centred
    return mean, gram / len(x)


def adapt(
    model: PldaModel,
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    *,
    mean_diff_scale: float = 1.0,
    within_scale: float = 0.3,
    between_scale: float = 0.7,
) -> PldaModel:
    """Share the variance that unlabelled data show beyond the model's between W and B (Kaldi's default shares)."""
    difference = mean - model.mean
    covariance = covariance + mean_diff_scale * np.outer(difference, difference)
    A1 = model.transform / np.sqrt(1 + model.psi)[:, None]  # total covariance of the model becomes I
    s, P = scipy.linalg.eigh(A1 @ covariance @ A1.T)
    excess = np.diag(np.maximum(s - 1, 0))  # directions where the data vary less are left alone
    within = (P.T / (1 + model.psi)) @ P + within_scale * excess
    between = (P.T * (model.psi / (1 + model.psi))) @ P + between_scale * excess
    back = np.linalg.inv(P.T @ A1)
    return from_covariances(mean, back @ within @ back.T, back @ between @ back.T)
