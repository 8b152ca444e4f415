"""Embeddings as the clusterings want them: float32 rows, contiguous, finite; centred and of unit length on request."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spkssl.errors import complain

_BLOCK = 1 << 16  # rows whose lengths are computed at a time


def as_rows(x: NDArray[Any]) -> NDArray[np.float32]:
    """(N, D) float32, C-contiguous, finite, N >= 1; not a copy where x is that already."""
    x = np.ascontiguousarray(x, np.float32)
    if x.ndim != 2 or not x.size:
        raise complain("embeddings", f"expected an array (N, D), got the shape {x.shape}")
    for start in range(0, len(x), _BLOCK):
        bad = ~np.isfinite(x[start : start + _BLOCK]).all(axis=1)
        if bad.any():
            raise complain("embeddings", f"row {start + int(bad.argmax())} holds NaN or infinity", "extract them again")
    return x


def unit_rows(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """A copy with rows of length 1; a row of zeros has no direction and is an InputError."""
    length = lengths(x)
    if not length.all():
        what = f"{int((length == 0).sum())} of {len(x)} rows are zero, the first is row {int(length.argmin())}"
        raise complain("embeddings", what, "extract them again")
    return x / length[:, None]


def unit_centres(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1 where they have a length; means of opposite directions have none and stay zero."""
    length = lengths(x)
    return x / np.where(length > 0, length, 1)[:, None]


def lengths(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.sqrt(np.einsum("nd,nd->n", x, x))


def sums(x: NDArray[np.float32], labels: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """(count, D) sum of the rows of each label."""
    from scipy.sparse import csr_array

    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(count + 1))
    members = csr_array((np.ones(len(order), np.float32), order, bounds), (count, len(x)))
    return members @ x


def prepare(x: NDArray[Any], *, normalize: bool, center: bool) -> NDArray[np.float32]:
    """What is clustered: the mean of unit rows is subtracted first, where both are wanted, and length comes last."""
    x = as_rows(x)
    if normalize:
        x = unit_rows(x)
    if center:
        x = x - x.mean(axis=0, dtype=np.float64).astype(np.float32)
        x = unit_rows(x) if normalize else x
    return x
