"""Two levels: k-means to many centres, then Ward's tree on the centres (IDLab 2020, arXiv 2010.12468; sslsv).

sslsv on VoxCeleb2: 50,000 centres, then 7500 clusters, NMI .955 where 7500 by k-means directly reach .930.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spkssl.cluster import kmeans
from spkssl.cluster.labels import canonical
from spkssl.cluster.linkage import Linkage, cut, tree
from spkssl.cluster.micro import micro_clusters
from spkssl.cluster.vectors import as_rows, unit_rows


@dataclass(frozen=True)
class Config:
    name: str = "kmeans_ahc"
    micro: int = 50_000  # centres of the first level (IDLab, sslsv), but not more than N * micro_share
    micro_share: float = 0.25  # keeps it two levels on small sets; Hyperion's N/4
    linkage: Linkage = "ward"
    weighted: bool = False  # a centre counts once, however many utterances it has (sslsv)
    iterations: int = 25  # of k-means
    restarts: int = 1

    number: ClassVar[str] = "needed"


class KmeansAhc:
    def __init__(self, *, config: Config, num_clusters: int) -> None:
        self.config, self.num_clusters = config, num_clusters

    def fit_predict(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
        """(N, D) -> (N,) labels 0..K-1."""
        x, config = as_rows(x), self.config
        if config.linkage == "average":
            x = unit_rows(x)
        number = max(min(config.micro, round(config.micro_share * len(x))), self.num_clusters)
        first = kmeans.Config(metric="euclidean", init="random", restarts=config.restarts, iterations=config.iterations)
        micro = micro_clusters(x, number, rng, first)
        centres = unit_rows(micro.centres) if config.linkage == "average" else micro.centres
        merges = tree(centres, config.linkage, micro.sizes if config.weighted else None)
        return canonical(cut(merges, self.num_clusters)[micro.labels])
