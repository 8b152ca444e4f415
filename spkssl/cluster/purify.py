"""Who is left out of pseudo labels: the far, the unsure, the crowd of big clusters, and small clusters altogether.

What these do to a clustering, a loss gate does to each step of training; both may be used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spkssl.cluster.labels import LEFT_OUT, canonical, centroids, count
from spkssl.cluster.vectors import as_rows, lengths, sums, unit_rows

_BLOCK = 4096  # rows whose (rows, K) likelihoods are held at a time
_PRIOR = 10.0  # members that the variance common to all clusters counts for in that of each


def drop_far(x: NDArray[Any], labels: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Leave out this share of the assigned rows: those of the lowest cosine to the mean of their cluster.

    At the bound, rows that come later go first.
    """
    kept = np.flatnonzero(labels >= 0)
    goes = int(share * len(kept))
    if not goes:
        return labels
    x = unit_rows(as_rows(x))
    means = centroids(x, labels)
    length = np.maximum(lengths(means), np.finfo(np.float32).tiny)
    near = np.einsum("nd,nd->n", x[kept], means[labels[kept]]) / length[labels[kept]]
    far = np.lexsort((-kept, near))[:goes]
    return _without(labels, kept[far])


def drop_unsure(x: NDArray[Any], labels: NDArray[np.int64], least: float) -> NDArray[np.int64]:
    """Leave out the rows whose posterior of their own cluster is below `least`."""
    if least <= 0 or count(labels) < 2:
        return labels
    kept = np.flatnonzero(labels >= 0)
    return _without(labels, kept[own_posterior(as_rows(x)[kept], labels[kept]) < least])


def own_posterior(x: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) P(own cluster | x) under a Gaussian of diagonal covariance for each cluster, all equally likely before.

    Hyperion's (JHU, arXiv 2109.13425). There a cluster's variance is its own, which of a handful of members is next to
    nothing and makes all of them sure; here it leans on the variance within all clusters.
    """
    clusters = count(labels)
    x = x - x.mean(axis=0)  # x^2 - 2 x m + m^2 cancels where the rows lie far from 0
    sizes = np.bincount(labels, minlength=clusters)[:, None].astype(np.float32)  # (K, 1)
    mean = sums(x, labels, clusters) / sizes  # (K, D)
    square = np.square(x - mean[labels])
    common = square.mean(axis=0)  # (D,)
    variance = (sums(square, labels, clusters) + _PRIOR * common) / (sizes + _PRIOR)  # (K, D)
    variance += max(1e-6 * common.mean(), 1e-12)  # a dimension without spread decides nothing
    # ln N(x; m, v) = -1/2 (x^2 . 1/v - 2 x . m/v + m^2 . 1/v + sum ln v) + constant
    inverse, pull = 1 / variance, mean / variance
    rest = (mean * pull + np.log(variance)).sum(axis=1)  # (K,)
    out = np.empty(len(x))
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        log = -0.5 * (np.square(x[rows]) @ inverse.T - 2 * x[rows] @ pull.T + rest).astype(np.float64)  # (rows, K)
        own = np.take_along_axis(log, labels[rows, None], axis=1)  # (rows, 1)
        with np.errstate(over="ignore"):  # a posterior of 0
            out[rows] = 1 / np.exp(log - own).sum(axis=1)
    return out


def cap(labels: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Leave out all but `most` members of each cluster, drawn at random; 0: no limit."""
    sizes = np.bincount(labels[labels >= 0])
    if not most or sizes.max(initial=0) <= most:
        return labels
    drawn = rng.permutation(len(labels))
    order = drawn[np.argsort(labels[drawn], kind="stable")]  # by cluster, at random within
    first = np.searchsorted(labels[order], labels[order])  # where each one's cluster begins
    beyond = np.arange(len(order)) - first >= most
    return _without(labels, order[beyond & (labels[order] >= 0)])


def drop_small(labels: NDArray[np.int64], min_size: int) -> NDArray[np.int64]:
    """Leave out the clusters of fewer than `min_size`."""
    sizes = np.bincount(labels[labels >= 0])
    return canonical(np.where((labels >= 0) & (sizes[labels] >= min_size), labels, LEFT_OUT)) if len(sizes) else labels


def _without(labels: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    out = labels.copy()
    out[rows] = LEFT_OUT
    return canonical(out)
