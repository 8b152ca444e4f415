"""Spectral clustering of the pruned cosine graph, as in 3D-Speaker; the number by the largest eigengap.

Each row keeps its largest similarities: a number of neighbours, or, as there, all but the int((1 - p) N) smallest and
at least 6, itself among them. The matrix is made symmetric, its diagonal zero; L = D - A; k-means on the eigenvectors
of the smallest eigenvalues. More than `max_rows` are gathered into micro clusters first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from spkssl.cluster import kmeans
from spkssl.cluster.labels import canonical
from spkssl.cluster.micro import micro_clusters
from spkssl.cluster.vectors import as_rows, unit_centres, unit_rows

_DENSE = 3000  # rows up to which all of the matrix is decomposed: seconds, and no trouble with equal eigenvalues


@dataclass(frozen=True)
class Config:
    name: str = "spectral"
    neighbours: int = 10  # as the graph's: 2 % of thousands would reach beyond a speaker, and hide the eigengap
    keep: float | None = None  # share of a row that is kept instead; 3D-Speaker .02, also .012 and .032
    min_kept: int = 6  # of a share, with itself; 3D-Speaker
    laplacian: Literal["plain", "normalized"] = "normalized"  # 3D-Speaker plain, for some ten speakers
    max_clusters: int = 1000  # where the number is looked for; each eigenvector costs
    max_rows: int = 10_000  # some minutes; more become micro clusters
    restarts: int = 5  # of k-means

    number: ClassVar[str] = "optional"


class Spectral:
    def __init__(self, *, config: Config, num_clusters: int | None) -> None:
        self.config, self.num_clusters = config, num_clusters

    def fit_predict(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
        """(N, D) -> (N,) labels 0..K-1."""
        x = unit_rows(as_rows(x))
        micro = micro_clusters(x, min(len(x), self.config.max_rows), rng)
        rows = len(micro.centres)
        most = self.num_clusters or max(2, min(self.config.max_clusters, rows // 4))
        if min(most, rows) < 2 or rows <= 2:
            return canonical(np.zeros(len(x), np.int64) if self.num_clusters == 1 else micro.labels)
        values, vectors = self._spectrum(unit_centres(micro.centres), min(most, rows), rng)
        number = min(self.num_clusters, rows) if self.num_clusters else largest_gap(values, 2, most)
        points = vectors[:, :number]
        if self.config.laplacian == "normalized":
            points = unit_centres(np.ascontiguousarray(points, np.float32))  # Ng, Jordan and Weiss 2002
        search = kmeans.Config(metric="euclidean", restarts=self.config.restarts)
        fit = kmeans.best_of(as_rows(points), number, search, rng)
        return canonical(fit.labels[micro.labels])

    def _spectrum(self, x: NDArray[np.float32], count: int, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
        """The `count` + 1 smallest eigenvalues (all, where there are no more) and their eigenvectors."""
        from spkssl.cluster.knn_graph import directed_graph, symmetric

        rows, config = len(x), self.config
        near = config.neighbours
        if config.keep is not None:
            near = max(rows - int((1 - config.keep) * rows), config.min_kept) - 1  # without itself
        graph = symmetric(directed_graph(x, near))
        return smallest_eigen(laplacian(graph, config.laplacian == "normalized"), min(count + 1, rows), rng)


def laplacian(graph: Any, normalized: bool = False) -> Any:
    """D - A, or I - D^-1/2 A D^-1/2, of a symmetric sparse graph."""
    from scipy.sparse import diags_array

    degree = np.asarray(graph.sum(axis=1)).reshape(-1)
    if not normalized:
        return (diags_array(degree) - graph).tocsr()
    scale = diags_array(1 / np.sqrt(np.where(degree > 0, degree, 1)))
    own = diags_array((degree > 0).astype(float))
    return (own - scale @ graph @ scale).tocsr()


def smallest_eigen(matrix: Any, count: int, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """(count,) smallest eigenvalues, ascending, and (n, count) eigenvectors; sparse, positive semi-definite."""
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    rows = matrix.shape[0]
    if rows <= _DENSE or count > rows // 3:
        return eigh(matrix.toarray(), subset_by_index=(0, count - 1))
    start = rng.standard_normal(rows)  # scipy's own start is not seeded
    # The inverse of L + s I, since small eigenvalues of L converge slowly.
    values, vectors = eigsh(matrix.tocsc(), k=count, sigma=-1e-2, which="LM", v0=start)
    order = np.argsort(values)
    return values[order], vectors[:, order]


def largest_gap(values: NDArray, low: int, high: int) -> int:
    """The number k in low..high after whose k-th eigenvalue comes the largest step; the first of equals."""
    high = min(high, len(values) - 1)
    if high < low:
        return low
    gaps = np.diff(values)[low - 1 : high]  # gaps[0] follows the low-th value
    return low + int((gaps >= gaps.max() - 1e-9).argmax())
