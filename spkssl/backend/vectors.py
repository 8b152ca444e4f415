"""Rows of embeddings: their checks, their lengths, and dot products of many pairs of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spkssl.errors import InputError, complain, some

PAIR_BLOCK = 8192  # pairs gathered at a time: two copies of (8192, 256) float32 stay in the cache of most machines
ROW_BLOCK = 16384  # embeddings brought to float64 at a time


class RowError(InputError):
    """An embedding that cannot be scored; `row` lets the caller put its name in place of the number."""

    def __init__(self, row: int, what: str) -> None:
        super().__init__(f"embedding row {row}: {what}")
        self.row, self.what = int(row), what


def as_rows(x: NDArray[Any], dim: int | None = None, where: str = "embeddings") -> NDArray[Any]:
    """The array as C-contiguous (N, D) floats (float32 stays float32), all finite, of the expected dimension."""
    x = np.ascontiguousarray(x)
    if x.dtype != np.float32:
        x = x.astype(np.float64)
    if x.ndim != 2 or not x.shape[1]:
        raise complain(where, f"expected an array (N, D), got the shape {x.shape}")
    if dim is not None and x.shape[1] != dim:
        raise complain(where, f"dimension {x.shape[1]} does not fit (the model was fitted on dimension {dim})")
    for start in range(0, len(x), ROW_BLOCK):
        finite = np.isfinite(x[start : start + ROW_BLOCK]).all(axis=1)
        if not finite.all():
            raise RowError(start + int(np.argmin(finite)), "holds NaN or infinity")
    return x


def as_labels(labels: NDArray[Any] | None, rows: int, where: str) -> NDArray[np.int64]:
    """Labels as (N,) int64; -1 = left out."""
    if labels is None:
        what = "needs labels of its training embeddings"
        raise complain(where, what, "cluster them first, or choose another back-end")
    labels = np.asarray(labels)
    if labels.shape != (rows,) or not np.issubdtype(labels.dtype, np.integer):
        raise complain(where, f"expected {rows} integer labels, got {labels.dtype} of shape {labels.shape}")
    if (labels < -1).any():
        raise complain(where, f"labels below -1: {some(np.unique(labels[labels < -1]))}")
    return labels.astype(np.int64)


def blocks(rows: int, size: int = ROW_BLOCK) -> Iterator[slice]:
    """Slices that cover 0..rows."""
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def mean_of(x: NDArray[Any]) -> NDArray[np.float64]:
    """The mean row, added up in float64."""
    return x.mean(axis=0, dtype=np.float64)


def centre(x: NDArray[Any], mean: NDArray[np.float64] | None, subtract: bool) -> NDArray[np.float64]:
    """What is to be subtracted: the given mean, or that of x, or nothing."""
    if not subtract:
        return np.zeros(x.shape[1])
    return mean_of(x) if mean is None else np.asarray(mean, np.float64)


def unit(x: NDArray[Any], mean: NDArray[np.float64] | None = None) -> NDArray[Any]:
    """Rows minus the mean, scaled to length 1, in the type of `x`. A row that becomes zero is a RowError."""
    out = np.empty_like(x)
    for part in blocks(len(x)):
        rows = x[part].astype(np.float64)
        if mean is not None:
            rows -= mean
        norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        if (norms == 0).any():
            raise RowError(part.start + int(np.argmax(norms == 0)), "is zero after mean subtraction, so has no cosine")
        out[part] = rows / norms[:, None]
    return out


def magnitudes(x: NDArray[Any], mean: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Euclidean norms of the rows minus the mean: a quality measure."""
    out = np.empty(len(x))
    for part in blocks(len(x)):
        out[part] = np.linalg.norm(x[part].astype(np.float64) - (0 if mean is None else mean), axis=1)
    return out


def length_normalise(x: NDArray[np.float64], scale_up: bool = True) -> NDArray[np.float64]:
    """Rows scaled to norm sqrt(D), or 1 without `scale_up`; zero rows stay (Kaldi ivector-normalize-length)."""
    norms = np.sqrt(np.einsum("nd,nd->n", x, x))
    target = np.sqrt(x.shape[1]) if scale_up else 1.0
    return x * (target / np.where(norms == 0, target, norms))[:, None]


def dot_pairs(a: NDArray[Any], b: NDArray[Any], i: NDArray[Any], j: NDArray[Any]) -> NDArray[np.float64]:
    """Dot products a[i[p]] . b[j[p]]: (P,)."""
    out = np.empty(len(i))
    for part in blocks(len(i), PAIR_BLOCK):
        out[part] = np.einsum("pd,pd->p", a[i[part]], b[j[part]])
    return out
