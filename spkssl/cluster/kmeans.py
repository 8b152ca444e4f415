"""k-means, by default spherical; Lloyd's iterations with faiss searching and scipy summing.

Why not `faiss.Kmeans`: its random numbers cannot come from ours, it does not stop when nothing changes any more, and
its defaults differ between versions. The costly part, the search, is faiss's own either way: a million vectors of 192
dimensions and 6000 centres take 2.5 Tflop an iteration. Memory: twice the embeddings (the caller's and unit rows).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spkssl.cluster.labels import canonical
from spkssl.cluster.search import Metric, nearest
from spkssl.cluster.vectors import as_rows, sums, unit_centres, unit_rows

_SEED_ROWS, _SEED_PER_CENTRE = 20_000, 8  # rows k-means++ looks at: so many, or so many for each centre if that is more
_SPLIT = 1 / 1024  # how far the halves of a split cluster start apart, as in faiss


@dataclass(frozen=True)
class Config:
    name: str = "kmeans"
    metric: Metric = "cosine"  # LGL: inner_product, to means that are not normalised; SSRL: euclidean
    init: Literal["kmeans++", "random"] = "kmeans++"  # the published systems begin at random utterances
    restarts: int = 5  # the lowest cost wins; LGL and SSRL take 1, which is enough for a million utterances
    iterations: int = 50  # at most; LGL 25 (faiss's default), SSRL until nothing changes
    tolerance: float = 1e-4  # stop when a smaller share of the utterances changes its cluster
    points_per_centre: int = 256  # centres of more utterances than this are found from a random part (faiss's default)
    empty: Literal["split", "keep"] = "split"  # an empty cluster takes half of a big one (faiss), or keeps its centre

    number: ClassVar[str] = "needed"


class Fit(NamedTuple):
    centres: NDArray[np.float32]  # (K, D)
    labels: NDArray[np.int64]  # (N,) clusters may be empty
    cost: float


class Kmeans:
    def __init__(self, *, config: Config, num_clusters: int) -> None:
        self.config, self.num_clusters = config, num_clusters

    def fit_predict(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
        """(N, D) -> (N,) labels 0..K-1; fewer than asked for where there are fewer distinct rows."""
        return canonical(best_of(as_rows(x), self.num_clusters, self.config, rng).labels)


def best_of(x: NDArray[np.float32], num_clusters: int, config: Config, rng: np.random.Generator) -> Fit:
    """The restart of the lowest cost."""
    if config.metric == "cosine":
        x = unit_rows(x)
    num_clusters = min(num_clusters, len(x))
    best: Fit | None = None
    for _ in range(max(1, config.restarts)):
        part = x
        if len(x) > config.points_per_centre * num_clusters:
            chosen = rng.choice(len(x), config.points_per_centre * num_clusters, replace=False)
            part = x[np.sort(chosen)]
        fit = lloyd(part, _start(part, num_clusters, config.init, rng), config, rng)
        if part is not x:
            labels, cost = nearest(x, fit.centres, config.metric)
            fit = Fit(fit.centres, labels, float(cost.sum(dtype=np.float64)))
        if best is None or fit.cost < best.cost:
            best = fit
    assert best is not None
    return best


def lloyd(x: NDArray[np.float32], centres: NDArray[np.float32], config: Config, rng: np.random.Generator) -> Fit:
    """Assign and average until few change; cosine expects unit rows. The labels fit the centres that are returned."""
    labels, cost = nearest(x, centres, config.metric)
    for _ in range(config.iterations):
        centres = _means(x, labels, centres, config, rng)
        before = labels
        labels, cost = nearest(x, centres, config.metric)
        if (labels != before).sum() <= config.tolerance * len(x):
            break
    return Fit(centres, labels, float(cost.sum(dtype=np.float64)))


def _means(
    x: NDArray[np.float32],
    labels: NDArray[np.int64],
    old: NDArray[np.float32],
    config: Config,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    sizes = np.bincount(labels, minlength=len(old))
    new = sums(x, labels, len(old)) / np.maximum(sizes, 1)[:, None].astype(np.float32)
    empty = np.flatnonzero(sizes == 0)
    new[empty] = old[empty]
    if config.empty == "split":
        _split(new, sizes, empty, rng)
    return unit_centres(new) if config.metric == "cosine" else new


def _split(centres: NDArray[np.float32], sizes: NDArray[np.int64], empty: NDArray, rng: np.random.Generator) -> None:
    """Give each empty cluster half of another, big ones first in line: probability ~ size - 1, as in faiss."""
    sizes = sizes.copy()
    sign = np.where(np.arange(centres.shape[1]) % 2, _SPLIT, -_SPLIT).astype(np.float32)
    for hole in empty:
        weight = np.cumsum(np.maximum(sizes - 1, 0))
        if not weight[-1]:
            return
        big = int(np.searchsorted(weight, rng.random() * weight[-1], side="right"))
        centres[hole], centres[big] = centres[big] * (1 + sign), centres[big] * (1 - sign)
        sizes[hole] = sizes[big] // 2
        sizes[big] -= sizes[hole]


def _start(x: NDArray[np.float32], count: int, init: str, rng: np.random.Generator) -> NDArray[np.float32]:
    if init == "random":
        return x[np.sort(rng.choice(len(x), count, replace=False))]
    seeds = max(_SEED_ROWS, _SEED_PER_CENTRE * count)
    if len(x) > seeds:
        x = x[np.sort(rng.choice(len(x), seeds, replace=False))]
    return _plus_plus(x, count, rng)


def _plus_plus(x: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rows drawn one by one with probability ~ squared distance to those drawn (Arthur and Vassilvitskii 2007).

    Of 2 + ln K candidates each time the one that lowers the cost most: the greedy variant of their section 5.
    """
    square = np.einsum("nd,nd->n", x, x)
    trials = 2 + int(np.log(count))
    chosen = np.empty(count, np.int64)
    chosen[0] = rng.integers(len(x))
    distance = _distances(x, square, chosen[:1])[:, 0]
    for k in range(1, count):
        mass = np.cumsum(distance, dtype=np.float64)
        if not mass[-1]:  # only duplicates are left; their clusters will be empty, whichever is taken
            chosen[k:] = chosen[0]
            break
        drawn = np.searchsorted(mass, rng.random(trials) * mass[-1], side="right").clip(max=len(x) - 1)
        nearer = np.minimum(distance[:, None], _distances(x, square, drawn))  # (N, trials)
        best = int(nearer.sum(axis=0, dtype=np.float64).argmin())
        chosen[k], distance = drawn[best], np.ascontiguousarray(nearer[:, best])
    return x[chosen]


def _distances(x: NDArray[np.float32], square: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N, len(rows)) squared distances to some of the rows, exactly 0 to themselves."""
    out = square[:, None] - 2 * (x @ x[rows].T)
    out += square[rows]
    np.maximum(out, 0, out=out)
    out[rows, np.arange(len(rows))] = 0
    return out
