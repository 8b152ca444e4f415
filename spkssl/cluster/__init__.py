"""Clusterings of embeddings into pseudo speakers. numpy, scipy, faiss and scikit-learn; the heavy ones load on use.

A clusterer is made from its Config and a number of clusters (None: it finds the number itself) and has one method,
`fit_predict(x, rng)`. `spkssl.cluster.pipeline.cluster` puts around it what all share: preparation of the embeddings,
the number of clusters when it is "auto", and who is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spkssl import config
from spkssl.cluster import ahc, graph, hdbscan, kmeans, kmeans_ahc, pic, spectral
from spkssl.contract import Clusterer
from spkssl.errors import choose, complain

AUTO = "auto"

CLUSTERERS: dict[str, tuple[type, Callable[..., Any]]] = {  # name -> (Config, class)
    "kmeans": (kmeans.Config, kmeans.Kmeans),
    "ahc": (ahc.Config, ahc.Ahc),
    "kmeans_ahc": (kmeans_ahc.Config, kmeans_ahc.KmeansAhc),
    "graph": (graph.Config, graph.Graph),
    "spectral": (spectral.Config, spectral.Spectral),
    "hdbscan": (hdbscan.Config, hdbscan.Hdbscan),
    "pic": (pic.Config, pic.Pic),
}


def configs() -> dict[str, type]:
    """Name -> Config, for `config.choice`."""
    return {name: entry[0] for name, entry in CLUSTERERS.items()}


@dataclass(frozen=True)
class ClusterConfig:
    """The section `cluster`."""

    algorithm: Any = config.choice(configs, "kmeans")
    num_clusters: int | str = AUTO
    over_cluster: float = 1.3  # of an estimated number; SSRL takes 8000 for 5994 speakers
    normalize: bool = True  # embeddings of unit length, as all public recipes but one do
    center: bool = False  # subtract the mean first
    drop_far: float = 0.0  # share of utterances left out, those farthest from their centre; DKU's purification
    min_posterior: float = 0.0  # of the own cluster, among Gaussians; below it one is left out; Hyperion: 0.9
    max_size: int = 0  # of bigger clusters so many are drawn, the others left out; Hyperion: 50; 0: all stay
    min_size: int = 1  # smaller clusters are left out; Hyperion keeps 10 and more
    stability: int = 0  # pairs of clusterings of random parts, for the report; each costs two clusterings

    def __post_init__(self) -> None:
        number = self.num_clusters
        if number != AUTO and (not isinstance(number, int) or isinstance(number, bool) or number < 2):
            raise ValueError(f"num_clusters: expected auto or at least 2, got {number!r}")
        if not 0 <= self.drop_far < 1:
            raise ValueError(f"drop_far: expected a share from 0 to below 1, got {self.drop_far}")
        if not 0 <= self.min_posterior < 1:
            raise ValueError(f"min_posterior: expected a probability from 0 to below 1, got {self.min_posterior}")
        if self.max_size < 0:
            raise ValueError(f"max_size: expected 0 or more, got {self.max_size}")
        if self.over_cluster <= 0:
            raise ValueError(f"over_cluster: expected a positive factor, got {self.over_cluster}")


def needs_number(algorithm: Any) -> bool:
    """Whether this algorithm has to be told how many clusters to make."""
    return algorithm.number == "needed"


def takes_number(algorithm: Any) -> bool:
    """Whether this algorithm can be told how many clusters to make."""
    return algorithm.number != "found"


def make_clusterer(algorithm: Any, num_clusters: int | None) -> Clusterer:
    """The clusterer this Config names; `num_clusters` None leaves the number to it."""
    name = choose("clustering", algorithm.name, CLUSTERERS)
    if num_clusters is None and needs_number(algorithm):
        raise complain(name, "needs a number of clusters", "give --num-clusters")
    if num_clusters is not None and not takes_number(algorithm):
        hint = "leave --num-clusters at auto, or choose another clustering"
        raise complain(name, f"finds the number of clusters itself (got {num_clusters})", hint)
    return CLUSTERERS[name][1](config=algorithm, num_clusters=num_clusters)
