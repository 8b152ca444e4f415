"""How many speakers there may be, asked of the embeddings in five ways.

Read the answer as an order of magnitude: +-30 to 50 % is normal, no criterion is better than the embeddings, and each
fails in its own way (silhouette and stability run to the end of their range where speakers overlap, the eigengap falls
back to 2, the graph joins speakers of fewer than ten utterances). The median is what they agree on. What helps is that
too many clusters hurt little (1.3 times the speakers is safe) and too few hurt much.

On the embedded corpus (100 speakers of 20 utterances, SSL embeddings, one run): graph 106, eigengap 106, stability
126, silhouette 191, threshold 48; the median is 106.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spkssl.cluster import graph
from spkssl.cluster.linkage import Tree, cut, tree
from spkssl.cluster.vectors import unit_rows
from spkssl.metrics.clusters import ari
from spkssl.metrics.unlabelled import centre_fit

_MAX_ROWS = 3000  # of the trees and the spectrum; more rows are stood for by whole communities drawn at random
_GRID = 24  # numbers tried
_PER_SPEAKER = 4  # utterances, at least: no larger number is tried
_HALVES = 2  # pairs of random parts
_PAIRS = 20_000  # random pairs of utterances
_NEAR = 5  # the neighbour that is taken to be of the same speaker


@dataclass(frozen=True)
class Estimate:
    number: int  # the median of the criteria
    by: dict[str, int]  # each criterion's own


def estimate(x: NDArray[np.float32], rng: np.random.Generator) -> Estimate:
    """(N, D) -> the number of clusters, before any factor for over-clustering.

    Beyond 3000 rows only the graph sees all of them; the others say by how much it errs on a part.
    """
    x = unit_rows(x)
    if len(x) <= 2 * _PER_SPEAKER:
        return Estimate(min(2, len(x)), {})
    found = graph.Graph(config=graph.Config(), num_clusters=None).fit_predict(x, rng)
    everything = int(found.max()) + 1
    part = _whole_clusters(found, rng)
    scale = everything / len(np.unique(found[part]))
    x = x[part]
    ward = tree(x, "ward")
    by = {
        "silhouette": silhouette(x, ward),
        "eigengap": eigengap(x),
        "stability": stability(x, rng),
        "threshold": threshold(x, rng),
    }
    by = {"graph": everything, **{name: round(scale * number) for name, number in by.items()}}
    return Estimate(max(2, int(np.median(list(by.values())))), by)


def grid(rows: int) -> list[int]:
    """Numbers from 2 to a quarter of the rows, evenly on a logarithmic scale."""
    return sorted({int(round(k)) for k in np.geomspace(2, max(2, rows // _PER_SPEAKER), _GRID)})


def silhouette(x: NDArray[np.float32], merges: Tree) -> int:
    """Where the mean silhouette against centres is greatest among cuts of the tree."""
    return max(grid(len(x)), key=lambda k: centre_fit(x, cut(merges, k)).silhouette)


def eigengap(x: NDArray[np.float32]) -> int:
    """Where the eigenvalues of the neighbour graph's normalised Laplacian leap most (von Luxburg 2007)."""
    from scipy.linalg import eigh

    from spkssl.cluster.knn_graph import directed_graph, symmetric
    from spkssl.cluster.spectral import largest_gap

    weights = symmetric(directed_graph(x, graph.Config.neighbours)).toarray()
    degree = weights.sum(axis=1)
    scale = 1 / np.sqrt(np.where(degree > 0, degree, 1))
    laplacian = np.eye(len(x)) - scale[:, None] * weights * scale
    most = max(2, len(x) // _PER_SPEAKER)
    values = eigh(laplacian, eigvals_only=True, subset_by_index=(0, min(most, len(x) - 1)))
    return largest_gap(values, 2, most)


def stability(x: NDArray[np.float32], rng: np.random.Generator) -> int:
    """Where Ward's trees of two random parts, 80 % each, agree best on what the parts share (adjusted Rand index)."""
    numbers = grid(round(0.8 * len(x)))
    agreement = np.zeros(len(numbers))
    for _ in range(_HALVES):
        parts = [np.sort(rng.permutation(len(x))[: round(0.8 * len(x))]) for _ in range(2)]
        shared = np.intersect1d(*parts)
        trees = [(tree(x[part], "ward"), np.searchsorted(part, shared)) for part in parts]
        agreement += [ari(*(cut(merges, k)[rows] for merges, rows in trees)) for k in numbers]
    return numbers[int(agreement.argmax())]


def threshold(x: NDArray[np.float32], rng: np.random.Generator) -> int:
    """Average linkage, cut half way between the similarity of near neighbours and that of random pairs."""
    from spkssl.cluster.search import neighbours

    i, j = rng.integers(0, len(x), (2, _PAIRS))
    apart = float(np.einsum("nd,nd->n", x[i], x[j])[i != j].mean())
    near = float(np.median(neighbours(x, _NEAR)[1][:, -1]))
    return int(cut(tree(x, "average"), height=1 - (near + apart) / 2).max()) + 1


def _whole_clusters(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of clusters drawn at random, about `_MAX_ROWS`; all rows where there are no more."""
    if len(labels) <= _MAX_ROWS:
        return np.arange(len(labels))
    order = rng.permutation(int(labels.max()) + 1)
    taken = np.cumsum(np.bincount(labels)[order]) <= _MAX_ROWS
    taken[:2] = True  # one cluster says nothing of their number
    part = np.flatnonzero(np.isin(labels, order[taken]))
    return np.sort(rng.permutation(part)[: 2 * _MAX_ROWS])
