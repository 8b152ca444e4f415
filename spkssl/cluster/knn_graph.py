"""The graph of nearest neighbours, weighted by cosine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from spkssl.cluster.search import neighbours


def directed_graph(x: NDArray[np.float32], count: int) -> csr_array:
    """(N, N) cosine of unit rows to their `count` nearest others, negative ones left out; no loops."""
    near, cosine = neighbours(x, count)
    kept = (near >= 0) & (cosine > 0)
    bounds = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    return csr_array((cosine[kept].astype(np.float64), near[kept], bounds), (len(x), len(x)))


def symmetric(graph: csr_array) -> csr_array:
    """Half of either direction: neighbours of each other weigh twice what a one-sided neighbour does."""
    return ((graph + graph.T) / 2).tocsr()


def connected_parts(graph: csr_array, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels with every cluster that is not connected inside split into its parts."""
    coo = graph.tocoo()
    inside = labels[coo.row] == labels[coo.col]
    kept = csr_array((coo.data[inside], (coo.row[inside], coo.col[inside])), graph.shape)
    return connected_components(kept, directed=False)[1].astype(np.int64)
