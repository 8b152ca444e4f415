"""Communities of an undirected weighted graph: the map equation or modularity, moved node by node, then level by level.

The scheme is Louvain's (Blondel 2008): nodes move to the neighbouring community that gains most, communities become
nodes, and again; then everything once more from the single nodes, until nothing gains. Moves are made in bulk, by
sparse products, a random part of the willing nodes at a time; a bulk that makes things worse is taken back and halved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spkssl.cluster.knn_graph import connected_parts

_SWEEPS = 100  # at most, on one level
_PASSES = 10  # from the single nodes up
_SMALL = 1e-10  # gains below are rounding
_WORTH = 1e-6  # a bulk that gains a smaller share ends the level


class Flow(NamedTuple):
    """A graph's weights as shares of the total: sums over both directions are 1."""

    links: csr_array  # (n, n) without loops
    strength: NDArray[np.float64]  # (n,) with loops; sums to 1
    outgoing: NDArray[np.float64]  # (n,) without loops


class Objective(Protocol):
    """Smaller is better."""

    def value(self, strength: NDArray, leaving: NDArray) -> float:
        """From each community's strength and the weight that leaves it, (C,) each; up to a constant."""

    def change(self, move: Move) -> NDArray[np.float64]:
        """(M,) what each single move changes."""


class Move(NamedTuple):
    """Single moves of nodes from community a to b, all (M,); totals are those before the move."""

    strength: NDArray  # of the node
    outgoing: NDArray  # of the node
    to_a: NDArray  # weight between the node and the rest of a
    to_b: NDArray
    strength_a: NDArray
    strength_b: NDArray
    leaving_a: NDArray
    leaving_b: NDArray
    leaving: float  # of all communities together


@dataclass(frozen=True)
class Modularity:
    """- sum_c (inside_c - resolution strength_c^2) (Newman and Girvan 2004; resolution: Reichardt and Bornholdt 2006).

    Blind to communities much smaller than sqrt(links), so thousands of speakers want a resolution far above 1.
    """

    resolution: float = 1.0

    def value(self, strength: NDArray, leaving: NDArray) -> float:
        return float((self.resolution * strength**2 - (strength - leaving)).sum())

    def change(self, move: Move) -> NDArray[np.float64]:
        expected = move.strength * (move.strength_b - move.strength_a + move.strength)
        return 2 * (move.to_a - move.to_b + self.resolution * expected)


@dataclass(frozen=True)
class MapEquation:
    """Bits per step to describe a random walk (Rosvall, Axelsson and Bergstrom 2009, eq. (4)), two levels, undirected:

        L = h(sum q) - 2 sum h(q_c) + sum h(q_c + p_c) - sum h(p_i),    h(x) = x log2 x

    q_c leaves community c per step, p_c is spent in it. Steps shorter by `resolution` (Markov time 1 / resolution,
    Kheirkhahzadeh 2016) divide q and make communities smaller. The last sum does not depend on them and is left out.
    """

    resolution: float = 1.0

    def value(self, strength: NDArray, leaving: NDArray) -> float:
        q = leaving / self.resolution
        return float(_h(q.sum()) - 2 * _h(q).sum() + _h(q + strength).sum())

    def change(self, move: Move) -> NDArray[np.float64]:
        a, b, total = (q / self.resolution for q in (move.leaving_a, move.leaving_b, move.leaving))
        change_a = (2 * move.to_a - move.outgoing) / self.resolution
        change_b = (move.outgoing - 2 * move.to_b) / self.resolution
        new_a, new_b = np.maximum(a + change_a, 0), np.maximum(b + change_b, 0)
        left, joined = move.strength_a - move.strength, move.strength_b + move.strength
        before = _h(a + move.strength_a) + _h(b + move.strength_b) - 2 * (_h(a) + _h(b))
        after = _h(new_a + left) + _h(new_b + joined) - 2 * (_h(new_a) + _h(new_b))
        return _h(np.maximum(total + change_a + change_b, 0)) - _h(total) + after - before


def communities(graph: csr_array, objective: Objective, rng: np.random.Generator) -> NDArray[np.int64]:
    """Symmetric (n, n) weights >= 0 -> (n,) labels; every community is connected, a node without links is alone."""
    flow = flow_of(graph)
    labels = np.arange(graph.shape[0])
    best = np.inf
    for _ in range(_PASSES):
        labels = _move(flow, labels, objective, rng)
        while True:
            coarse = aggregate(flow, labels)
            upper = _move(coarse, np.arange(len(coarse.strength)), objective, rng)
            merged = _compact(upper)[labels]
            if merged.max() == labels.max():
                break
            labels = _compact(merged)
        value = objective.value(*_totals(flow, labels))
        if value >= best - _SMALL:
            break
        best, kept = value, labels
    return connected_parts(graph, kept)


def flow_of(graph: csr_array) -> Flow:
    """Shares of the total weight; a graph without links is flow that stays where it is."""
    graph = csr_array(graph, dtype=np.float64)
    total = graph.sum()
    if not total:
        n = graph.shape[0]
        return Flow(graph, np.full(n, 1 / n), np.zeros(n))
    graph = graph / total
    strength = np.asarray(graph.sum(axis=1)).reshape(-1)
    return _without_loops(graph, strength)


def aggregate(flow: Flow, labels: NDArray[np.int64]) -> Flow:
    """The flow between communities, each a node."""
    member = _member(labels)
    links = csr_array(member.T @ flow.links @ member)
    return _without_loops(links, member.T @ flow.strength)


def quality(graph: csr_array, labels: NDArray[np.int64], objective: Objective) -> float:
    """Modularity, or bits per step with the term that does not depend on the labels."""
    flow = flow_of(graph)
    value = objective.value(*_totals(flow, _compact(labels)))
    return -value if isinstance(objective, Modularity) else value - float(_h(flow.strength).sum())


def _without_loops(links: csr_array, strength: NDArray) -> Flow:
    links = links.copy()
    links.setdiag(0)
    links.eliminate_zeros()
    return Flow(links, strength, np.asarray(links.sum(axis=1)).reshape(-1))


def _member(labels: NDArray[np.int64]) -> csr_array:
    n = len(labels)
    return csr_array((np.ones(n), labels, np.arange(n + 1)), (n, int(labels.max()) + 1))


def _totals(flow: Flow, labels: NDArray[np.int64]) -> tuple[NDArray, NDArray]:
    """(C,) strength of each community and weight that leaves it."""
    coo = flow.links.tocoo()
    across = labels[coo.row] != labels[coo.col]
    count = int(labels.max()) + 1
    leaving = np.bincount(labels[coo.row[across]], coo.data[across], minlength=count)
    return np.bincount(labels, flow.strength, minlength=count), leaving


def _move(flow: Flow, labels: NDArray[np.int64], objective: Objective, rng: np.random.Generator) -> NDArray[np.int64]:
    """Move nodes between neighbouring communities until nothing gains; labels 0..C-1 in and out."""
    labels, share = _compact(labels), 0.5
    value = objective.value(*_totals(flow, labels))
    for _ in range(_SWEEPS):
        nodes, targets = _best_moves(flow, labels, objective)
        if not len(nodes):
            break
        while True:
            chosen = rng.random(len(nodes)) < share
            if len(nodes) == 1 or not chosen.any():
                chosen[rng.integers(len(nodes))] = True
            tried = labels.copy()
            tried[nodes[chosen]] = targets[chosen]
            new = objective.value(*_totals(flow, tried))
            if new < value or chosen.sum() == 1:
                break
            share /= 2
        if new >= value - _WORTH * abs(value):
            break
        labels, value, share = _compact(tried), new, min(0.5, share * 1.5)
    return labels


def _best_moves(flow: Flow, labels: NDArray[np.int64], objective: Objective) -> tuple[NDArray, NDArray]:
    """Nodes that gain by moving alone, and where each gains most."""
    strength, leaving = _totals(flow, labels)
    near = (flow.links @ _member(labels)).tocoo()  # weight from each node to each community it touches
    home = near.col == labels[near.row]
    to_home = np.zeros(len(labels))
    to_home[near.row[home]] = near.data[home]
    node, b, to_b = near.row[~home], near.col[~home], near.data[~home]
    if not len(node):
        return node, b
    a = labels[node]
    change = objective.change(
        Move(
            flow.strength[node], flow.outgoing[node], to_home[node], to_b,
            strength[a], strength[b], leaving[a], leaving[b], float(leaving.sum()),
        )
    )  # fmt: skip
    order = np.lexsort((b, change, node))
    first = np.concatenate([[True], np.diff(node[order]) > 0])
    best = order[first]
    best = best[change[best] < -_SMALL]
    return node[best], b[best]


def _compact(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def _h(x: NDArray | float) -> NDArray:
    """x log2 x, and 0 at 0."""
    x = np.asarray(x, np.float64)
    return x * np.log2(np.where(x > 0, x, 1))
