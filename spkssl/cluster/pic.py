"""Path integral clustering (Zhang, Zhao and Wang, Pattern Recognition 2013), as SSC uses it for speakers.

A directed neighbour graph with weights exp(-d^2 / s^2), rows normalised to P. A cluster C of P_C holds together by
    S_C = 1' (I - z P_C)^-1 1 / |C|^2,      and of its part a by      S_a|C = 1_a' (I - z P_C)^-1 1_a / |a|^2,
the paths from a to a through all of C. Clusters merge by the greatest (S_a|C - S_a) + (S_b|C - S_b), from the
components of the graph of nearest neighbours down to the number asked for. A single row has S = 1.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spkssl.cluster.labels import canonical
from spkssl.cluster.micro import micro_clusters
from spkssl.cluster.vectors import as_rows, unit_rows

_DENSE = 256  # rows of a union up to which its steps are cheaper as a full matrix


@dataclass(frozen=True)
class Config:
    name: str = "pic"
    neighbours: int = 20  # 10 to 30 in the paper
    z: float = 0.01  # weight of a step along a path
    a: float = 0.95  # weight at the mean distance of the 3 nearest neighbours
    max_rows: int = 20_000  # minutes; more become micro clusters

    number: ClassVar[str] = "needed"

    def __post_init__(self) -> None:
        if not 0 < self.z < 1 or not 0 < self.a < 1:
            raise ValueError(f"z, a: expected numbers between 0 and 1, got {self.z} and {self.a}")


class Pic:
    def __init__(self, *, config: Config, num_clusters: int) -> None:
        self.config, self.num_clusters = config, num_clusters

    def fit_predict(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
        """(N, D) -> (N,) labels 0..K-1."""
        x = unit_rows(as_rows(x))
        micro = micro_clusters(x, min(len(x), self.config.max_rows), rng)
        if len(micro.centres) <= 2:
            return canonical(micro.labels if self.num_clusters > 1 else np.zeros(len(x)))
        steps, start = transition(unit_rows(micro.centres), self.config)
        groups = _Groups(steps, start, self.config.z)
        groups.merge_to(self.num_clusters)
        return canonical(groups.labels()[micro.labels])


def transition(x: NDArray[np.float32], config: Config) -> tuple[Any, NDArray[np.int64]]:
    """Row-stochastic (N, N) steps to the nearest neighbours of unit rows, and (N,) components by the very nearest."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    from spkssl.cluster.search import neighbours

    near, cosine = neighbours(x, config.neighbours)
    near = np.where(near >= 0, near, np.arange(len(x))[:, None])
    square = np.maximum(2 - 2 * cosine.astype(np.float64), 0)
    scale = square[:, :3].mean() / -np.log(config.a)
    weight = np.exp(-square / scale) if scale > 0 else np.ones_like(square)
    weight = weight / np.maximum(weight.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    bounds = np.arange(len(x) + 1) * near.shape[1]
    steps = csr_array((weight.reshape(-1), near.reshape(-1), bounds), (len(x), len(x)))
    one = csr_array((np.ones(len(x)), near[:, 0].copy(), np.arange(len(x) + 1)), steps.shape)
    return steps, connected_components(one, directed=False)[1]


def path_integral(steps: Any, inside: NDArray[np.bool_], z: float, confined: bool = False) -> float:
    """S_a|C of the part `inside` (n,) of a cluster with steps P_C (n, n); S_a where paths are confined to the part.

    (I - z P)^-1 1 as the sum of z^t P^t 1, each term at most z times the last: 8 terms at z = .01.
    """
    ones = inside.astype(np.float64)
    total, term = ones.copy(), ones
    for _ in range(int(np.ceil(np.log(np.finfo(float).eps) / np.log(z)))):
        term = z * (steps @ term)
        term = term * ones if confined else term
        total += term
    return float(ones @ total) / ones.sum() ** 2


def affinity(steps: Any, first: NDArray[np.bool_], z: float) -> float:
    """What two clusters gain by their union, whose rows `first` (n,) are the one's and the others the other's."""
    return sum(path_integral(steps, part, z) - path_integral(steps, part, z, confined=True) for part in (first, ~first))


class _Groups:
    """The clusters left, the pairs that touch, and a heap of their affinities with entries that may be outdated."""

    def __init__(self, steps: Any, start: NDArray[np.int64], z: float) -> None:
        self.steps, self.z = steps, z
        order = np.argsort(start, kind="stable")
        bounds = np.searchsorted(start[order], np.arange(start.max() + 2))
        self.members = {k: order[bounds[k] : bounds[k + 1]] for k in range(int(start.max()) + 1)}
        coo = steps.tocoo()
        pairs = np.unique(np.stack([start[coo.row], start[coo.col]], axis=1), axis=0)
        self.names = count(len(self.members))
        self.touching: dict[int, set[int]] = {k: set() for k in self.members}
        for a, b in pairs[pairs[:, 0] != pairs[:, 1]].tolist():
            self.touching[a].add(b)
            self.touching[b].add(a)
        self.heap = [self._entry(a, b) for a in self.members for b in sorted(self.touching[a]) if a < b]
        heapq.heapify(self.heap)

    def merge_to(self, number: int) -> None:
        """Merge while some touch; those that do not are all alike to PIC, and the two smallest join."""
        while len(self.members) > number and self.heap:
            _, a, b = heapq.heappop(self.heap)
            if a in self.members and b in self.members:
                self._merge(a, b)
        while len(self.members) > number:
            a, b = sorted(self.members, key=lambda k: (len(self.members[k]), k))[:2]
            self._merge(a, b)

    def labels(self) -> NDArray[np.int64]:
        out = np.empty(self.steps.shape[0], np.int64)
        for k, rows in enumerate(self.members.values()):
            out[rows] = k
        return out

    def _merge(self, a: int, b: int) -> None:
        new = next(self.names)
        self.members[new] = np.concatenate([self.members.pop(a), self.members.pop(b)])
        around = (self.touching.pop(a) | self.touching.pop(b)) - {a, b}
        self.touching[new] = around
        for other in sorted(around):
            self.touching[other] -= {a, b}
            self.touching[other].add(new)
            heapq.heappush(self.heap, self._entry(other, new))

    def _entry(self, a: int, b: int) -> tuple[float, int, int]:
        rows = np.concatenate([self.members[a], self.members[b]])
        steps = self.steps[rows][:, rows]
        steps = steps.toarray() if len(rows) <= _DENSE else steps
        first = np.arange(len(rows)) < len(self.members[a])
        return -affinity(steps, first, self.z), a, b
