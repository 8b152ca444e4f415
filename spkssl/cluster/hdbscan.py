"""HDBSCAN (Campello 2013) after PCA: clusters of any number, what is too thin is noise.

The published recipe has UMAP in front (3D-Speaker: 60 dimensions, min_samples 20, min_cluster_size 10), a package we
do without; PCA keeps the distances. More rows than `max_rows`: a random part is clustered, the others follow their
nearest row of that part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spkssl.cluster.labels import canonical, centroids
from spkssl.cluster.search import nearest
from spkssl.cluster.vectors import as_rows, unit_centres, unit_rows


@dataclass(frozen=True)
class Config:
    name: str = "hdbscan"
    dims: int = 60  # 0: no PCA; 3D-Speaker 60
    min_cluster_size: int = 5  # 3D-Speaker 10
    min_samples: int = 3  # 3D-Speaker 20, for speakers of hundreds of pieces; more makes more noise
    leaf: bool = True  # the finest clusters of the tree, which are alike in size; False: excess of mass
    assign_noise: bool = False  # noise joins the nearest centre instead of being left out
    max_rows: int = 20_000  # minutes; time grows with the square

    number: ClassVar[str] = "found"


class Hdbscan:
    def __init__(self, *, config: Config, num_clusters: None = None) -> None:
        self.config, self.num_clusters = config, num_clusters

    def fit_predict(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
        """(N, D) -> (N,) labels 0..K-1, -1 = noise; all in one cluster where no denser part is found."""
        x = unit_rows(as_rows(x))
        part = np.arange(len(x))
        if len(x) > self.config.max_rows:
            part = np.sort(rng.choice(len(x), self.config.max_rows, replace=False))
        found = self._cluster(project(x[part], self.config.dims))
        labels = found if len(part) == len(x) else found[nearest(x, x[part], "cosine")[0]]
        labels = canonical(labels)
        if not (labels >= 0).any():
            return np.zeros(len(x), np.int64)
        noise = labels < 0
        if self.config.assign_noise and noise.any():
            labels[noise] = nearest(x[noise], unit_centres(centroids(x, labels)), "cosine")[0]
        return canonical(labels)

    def _cluster(self, x: NDArray[np.float32]) -> NDArray[np.int64]:
        from sklearn.cluster import HDBSCAN

        config = self.config
        if len(x) < max(config.min_cluster_size, config.min_samples, 2):
            return np.zeros(len(x), np.int64)
        model = HDBSCAN(
            min_cluster_size=config.min_cluster_size,
            min_samples=config.min_samples,
            cluster_selection_method="leaf" if config.leaf else "eom",
            copy=True,
        )
        return model.fit_predict(x).astype(np.int64)


def project(x: NDArray[np.float32], dims: int) -> NDArray[np.float32]:
    """(N, D) -> (N, dims) on the directions of the greatest variance; as it is where dims is 0 or not below D."""
    if not 0 < dims < x.shape[1]:
        return x
    centred = x - x.mean(axis=0, dtype=np.float64).astype(np.float32)
    _, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    return np.ascontiguousarray(centred @ vectors[:, : -dims - 1 : -1].astype(np.float32))
