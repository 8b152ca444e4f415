"""From embeddings to pseudo labels: prepare, find the number, cluster, leave out, number canonically."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spkssl.cluster import AUTO, ClusterConfig, make_clusterer, needs_number
from spkssl.cluster.labels import centroids, count
from spkssl.cluster.number import Estimate, estimate
from spkssl.cluster.purify import cap, drop_far, drop_small, drop_unsure
from spkssl.cluster.vectors import prepare
from spkssl.contract import Clusterer
from spkssl.errors import complain


@dataclass(frozen=True, eq=False)
class Clustering:
    labels: NDArray[np.int64]  # (N,) canonical, -1 = left out
    centroids: NDArray[np.float32]  # (K, D) means of unit rows, in label order
    asked: int | None  # clusters asked for; None: the algorithm found the number
    estimate: Estimate | None  # where the number was estimated
    clusterer: Clusterer
    prepared: NDArray[np.float32]  # (N, D) what was clustered


def cluster(x: NDArray[Any], config: ClusterConfig, rng: np.random.Generator) -> Clustering:
    """(N, D) embeddings -> pseudo labels."""
    prepared = prepare(x, normalize=config.normalize, center=config.center)
    asked, guess = _number(prepared, config, rng)
    clusterer = make_clusterer(config.algorithm, asked)
    labels = clusterer.fit_predict(prepared, rng)
    labels = drop_far(prepared, labels, config.drop_far)
    labels = drop_unsure(prepared, labels, config.min_posterior)
    labels = drop_small(labels, config.min_size)
    labels = cap(labels, config.max_size, rng)
    if not count(labels):
        what = f"{config.algorithm.name} left out all {len(x)} utterances"
        raise complain("cluster", what, "lower min_size or min_posterior, or change the algorithm's settings")
    return Clustering(labels, centroids(x, labels), asked, guess, clusterer, prepared)


def _number(
    x: NDArray[np.float32], config: ClusterConfig, rng: np.random.Generator
) -> tuple[int | None, Estimate | None]:
    if config.num_clusters != AUTO:
        if config.num_clusters > len(x):
            what = f"{config.num_clusters} clusters asked for, of {len(x)} utterances"
            raise complain("cluster", what, "give a smaller --num-clusters, or auto")
        return int(config.num_clusters), None
    if not needs_number(config.algorithm):
        return None, None
    guess = estimate(x, rng)
    return min(len(x), max(2, round(guess.number * config.over_cluster))), guess
