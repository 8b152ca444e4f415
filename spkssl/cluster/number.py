"""How many speakers there may be, asked of the embeddings by several criteria.

Read it as an order of magnitude: +-30 to 50 % is normal, and no criterion is better than the embeddings. What helps is
that too many clusters hurt little (1.3 times the speakers is safe) and too few hurt much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spkssl.cluster.linkage import Tree, cut, tree
from spkssl.cluster.micro import micro_clusters
from spkssl.metrics.unlabelled import centre_fit

_MAX_ROWS = 5000  # rows of the trees; more are gathered into micro clusters first
_GRID = 24  # numbers of clusters tried


@dataclass(frozen=True)
class Estimate:
    number: int  # the median of the criteria
    by: dict[str, int]  # each criterion's own


def estimate(x: NDArray[np.float32], rng: np.random.Generator) -> Estimate:
    """(N, D) -> the number of clusters, before any factor for over-clustering."""
    x = micro_clusters(x, min(len(x), _MAX_ROWS), rng).centres
    by = {"silhouette": silhouette(x, tree(x, "ward"))}
    return Estimate(int(np.median(list(by.values()))), by)


def grid(rows: int) -> list[int]:
    """Numbers from 2 to half of the rows, evenly on a logarithmic scale."""
    return sorted({int(round(k)) for k in np.geomspace(2, max(2, rows // 2), _GRID)})


def silhouette(x: NDArray[np.float32], merges: Tree) -> int:
    """Where the mean silhouette against centres is greatest among cuts of the tree."""
    return max(grid(len(x)), key=lambda k: centre_fit(x, cut(merges, k)).silhouette)
