"""Clusterings against true classes: pairs, entropies, majorities and matchings, all from one sparse table.

Every function takes (classes, clusters) or a ready `Contingency`. n_ij counts class i in cluster j, a_i and b_j are the
sizes of classes and clusters. Where a ratio is 0/0 nothing was done wrong and the value is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, hstack
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from spkssl.errors import choose
from spkssl.metrics.contingency import NOISE, Contingency, contingency, labels

AVERAGES = {
    "arithmetic": lambda a, b: (a + b) / 2,
    "geometric": lambda a, b: np.sqrt(a * b),
    "max": max,
    "min": min,
}


class PrecisionRecall(NamedTuple):
    precision: float
    recall: float
    f: float


@dataclass(frozen=True)
class ClusterScores:
    """Purity and accuracy and the rest, each in 0..1 but ari, which chance makes 0."""

    nmi: float  # arithmetic, the same as the V-measure
    homogeneity: float
    completeness: float
    ari: float
    purity: float
    inverse_purity: float
    accuracy: float
    pairwise: PrecisionRecall
    bcubed: PrecisionRecall
    n_classes: int
    n_clusters: int
    n_items: int


@dataclass(frozen=True)
class ClusterSummary:
    """Scores of the assigned items alone, and with each item left out as a cluster of its own."""

    coverage: float
    assigned: ClusterScores | None  # None where nothing was assigned
    with_singletons: ClusterScores


def mutual_information(classes: ArrayLike | Contingency, clusters: ArrayLike | None = None) -> float:
    """In nats."""
    table = contingency(classes, clusters)
    p = table.counts / table.total
    ratio = p * table.total**2 / (table.class_sizes[table.rows] * table.cluster_sizes[table.columns].astype(float))
    return max(0.0, float((p * np.log(ratio)).sum()))


def nmi(classes: ArrayLike | Contingency, clusters: ArrayLike | None = None, average: str = "arithmetic") -> float:
    """Mutual information over a mean (a name in `AVERAGES`) of the two entropies."""
    table = contingency(classes, clusters)
    mean = AVERAGES[choose("NMI average", average, AVERAGES)]
    return _ratio(mutual_information(table), float(mean(_entropy(table.class_sizes), _entropy(table.cluster_sizes))))


def homogeneity(classes: ArrayLike | Contingency, clusters: ArrayLike | None = None) -> float:
    """How far the cluster tells the class: MI / H(class)."""
    table = contingency(classes, clusters)
    return _ratio(mutual_information(table), _entropy(table.class_sizes))


def completeness(classes: ArrayLike | Contingency, clusters: ArrayLike | None = None) -> float:
    """How far the class tells the cluster: MI / H(cluster)."""
    table = contingency(classes, clusters)
    return _ratio(mutual_information(table), _entropy(table.cluster_sizes))


def v_measure(classes: ArrayLike | Contingency, clusters: ArrayLike | None = None) -> float:
    """Harmonic mean of homogeneity and completeness; equals the arithmetic NMI."""
    table = contingency(classes, clusters)
    return _harmonic(homogeneity(table), completeness(table))


def ari(classes: ArrayLike | Contingency, clusters: ArrayLike | None = None) -> float:
    """Adjusted Rand index: pairs in common against what chance would give."""
    table = contingency(classes, clusters)
    both, in_class, in_cluster = (_pairs(n) for n in (table.counts, table.class_sizes, table.cluster_sizes))
    # E = in_class in_cluster / C(N, 2), multiplied out to stay in exact integers
    every = table.total * (table.total - 1) // 2
    above_chance = 2 * (both * every - in_class * in_cluster)
    return _ratio(above_chance, (in_class + in_cluster) * every - 2 * in_class * in_cluster)


def pairwise(classes: ArrayLike | Contingency, clusters: ArrayLike | None = None) -> PrecisionRecall:
    """Of the pairs in one cluster the share in one class, and the reverse."""
    table = contingency(classes, clusters)
    both = _pairs(table.counts)
    precision, recall = _ratio(both, _pairs(table.cluster_sizes)), _ratio(both, _pairs(table.class_sizes))
    return PrecisionRecall(precision, recall, _harmonic(precision, recall))


def fowlkes_mallows(classes: ArrayLike | Contingency, clusters: ArrayLike | None = None) -> float:
    """Geometric mean of the pairwise precision and recall."""
    precision, recall, _ = pairwise(classes, clusters)
    return float(np.sqrt(precision * recall))


def bcubed(classes: ArrayLike | Contingency, clusters: ArrayLike | None = None) -> PrecisionRecall:
    """Per item, the share of its cluster that is of its class, and the reverse; averaged over items."""
    table = contingency(classes, clusters)
    squares = table.counts.astype(float) ** 2
    precision = float((squares / table.cluster_sizes[table.columns]).sum()) / table.total
    recall = float((squares / table.class_sizes[table.rows]).sum()) / table.total
    return PrecisionRecall(precision, recall, _harmonic(precision, recall))


def purity(classes: ArrayLike | Contingency, clusters: ArrayLike | None = None) -> float:
    """Share of items that belong to the majority class of their cluster."""
    table = contingency(classes, clusters)
    return float(_majority(table.columns, table.counts, len(table.cluster_sizes)).sum()) / table.total


def inverse_purity(classes: ArrayLike | Contingency, clusters: ArrayLike | None = None) -> float:
    """Share of items that lie in the majority cluster of their class."""
    table = contingency(classes, clusters)
    return float(_majority(table.rows, table.counts, len(table.class_sizes)).sum()) / table.total


def cluster_averaged_purity(classes: ArrayLike | Contingency, clusters: ArrayLike | None = None) -> float:
    """Mean over clusters, big or small, of the share of their majority class (what SSRL reports)."""
    table = contingency(classes, clusters)
    return float((_majority(table.columns, table.counts, len(table.cluster_sizes)) / table.cluster_sizes).mean())


def majority_class(classes: NDArray, clusters: NDArray) -> NDArray[np.int64]:
    """(K,) the class most of each cluster's items have, -1 where it has none; a tie goes to the lowest class.

    `classes` are numbers from 0, `clusters` too, with -1 for items left out.
    """
    found = np.full(int(clusters.max(initial=NOISE)) + 1, NOISE, np.int64)
    kept = clusters != NOISE
    if kept.any():
        width = int(classes.max()) + 1
        cells, counts = np.unique(clusters[kept].astype(np.int64) * width + classes[kept], return_counts=True)
        order = np.lexsort((-cells, counts))  # the last one written to a cluster stays
        found[cells[order] // width] = cells[order] % width
    return found


def accuracy(classes: ArrayLike | Contingency, clusters: ArrayLike | None = None) -> float:
    """Share of items on the best one-to-one matching of classes and clusters (Hungarian)."""
    table = contingency(classes, clusters)
    rows, columns, counts = table.rows, table.columns, table.counts
    if len(table.class_sizes) > len(table.cluster_sizes):
        rows, columns = columns, rows
    n_rows, n_columns = rows.max() + 1, columns.max() + 1
    # A full matching of the smaller side that maximises the counts; a column of its own lets each row go unmatched.
    # Costs must not be zero, or the sparse matrix would lose them.
    worst = counts.max() + 1
    costs = csr_array(((worst - counts).astype(float), (rows, columns)), (n_rows, n_columns))
    unmatched = csr_array((np.full(n_rows, float(worst)), (np.arange(n_rows),) * 2), (n_rows, n_rows))
    row, column = min_weight_full_bipartite_matching(hstack([costs, unmatched], format="csr"))
    matched = column < n_columns
    return float((worst - costs[row[matched], column[matched]]).sum()) / table.total


def cluster_scores(classes: ArrayLike | Contingency, clusters: ArrayLike | None = None) -> ClusterScores:
    """All of the above from one table; no item may be left out."""
    table = contingency(classes, clusters)
    return ClusterScores(
        nmi=nmi(table),
        homogeneity=homogeneity(table),
        completeness=completeness(table),
        ari=ari(table),
        purity=purity(table),
        inverse_purity=inverse_purity(table),
        accuracy=accuracy(table),
        pairwise=pairwise(table),
        bcubed=bcubed(table),
        n_classes=len(table.class_sizes),
        n_clusters=len(table.cluster_sizes),
        n_items=table.total,
    )


def cluster_summary(classes: ArrayLike, clusters: ArrayLike) -> ClusterSummary:
    """Scores of a clustering that may have left items out (cluster -1)."""
    clusters = labels(clusters, "clusters")
    assigned = clusters != NOISE
    with_singletons = cluster_scores(contingency(classes, clusters, noise="singletons"))
    if assigned.all():
        return ClusterSummary(1.0, with_singletons, with_singletons)
    alone = cluster_scores(contingency(classes, clusters, noise="drop")) if assigned.any() else None
    return ClusterSummary(float(assigned.mean()), alone, with_singletons)


def _entropy(sizes: NDArray) -> float:
    p = sizes / sizes.sum()
    return max(0.0, float(-(p * np.log(p)).sum()))


def _pairs(counts: NDArray) -> int:
    return sum(int(n) * int(m) for n, m in zip(*np.unique(counts * (counts - 1) // 2, return_counts=True), strict=True))


def _majority(group: NDArray, counts: NDArray, n_groups: int) -> NDArray:
    most = np.zeros(n_groups, np.int64)
    np.maximum.at(most, group, counts)
    return most


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 1.0


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
