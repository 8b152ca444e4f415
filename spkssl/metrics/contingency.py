"""How often each class meets each cluster, kept sparse: a million utterances in ten thousand clusters fit easily."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spkssl.errors import choose, complain

NOISE = -1  # the label of an item that the clustering left out
TREATMENTS = ("error", "drop", "singletons")


@dataclass(frozen=True, eq=False)
class Contingency:
    """The cells n_ij > 0 and the marginals of a class by cluster table."""

    rows: NDArray  # (cells,) class i
    columns: NDArray  # (cells,) cluster j
    counts: NDArray  # (cells,) int64
    class_sizes: NDArray  # a_i
    cluster_sizes: NDArray  # b_j

    @property
    def total(self) -> int:
        return int(self.counts.sum())


def contingency(
    classes: ArrayLike | Contingency, clusters: ArrayLike | None = None, noise: str = "error"
) -> Contingency:
    """The table of true classes (names or numbers) against clusters (numbers), one entry per item.

    Items in cluster -1 are an error, are dropped, or each become a cluster of their own.
    """
    if isinstance(classes, Contingency):
        return classes
    choose("noise treatment", noise, TREATMENTS)
    classes, clusters = labels(classes, "classes"), labels(clusters, "clusters")
    if len(classes) != len(clusters):
        raise complain("clusters", f"got {len(clusters)} labels for {len(classes)} classes (expected as many)")
    left_out = clusters == NOISE if clusters.dtype.kind in "iu" else np.zeros(len(clusters), bool)
    if left_out.any() and noise == "error":
        what = f"{left_out.sum()} of {len(clusters)} items have no cluster"
        raise complain("clusters", what, "drop them or make them singletons")
    if noise == "drop":
        classes, clusters, left_out = classes[~left_out], clusters[~left_out], left_out[~left_out]
    if not len(classes):
        raise complain("clusters", "there is no assigned item", "cluster again")
    class_index, cluster_index = codes(classes), codes(clusters)
    if left_out.any():
        cluster_index[left_out] = cluster_index.max() + 1 + np.arange(left_out.sum())
        cluster_index = codes(cluster_index)
    width = int(cluster_index.max()) + 1
    cells, counts = np.unique(class_index.astype(np.int64) * width + cluster_index, return_counts=True)
    rows, columns = np.divmod(cells, width)
    return Contingency(rows, columns, counts, np.bincount(class_index), np.bincount(cluster_index))


def labels(values: ArrayLike | None, name: str) -> NDArray:
    """A list of labels as an array; real numbers are no labels."""
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "iuUSb":
        what = f"got an array of shape {values.shape} and type {values.dtype} (expected a list of labels)"
        raise complain(name, what)
    return values


def codes(values: NDArray) -> NDArray:
    """Labels as 0..K-1 in sorted order, every number in use."""
    return np.unique(values, return_inverse=True)[1].reshape(-1)
