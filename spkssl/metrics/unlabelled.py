"""What can be said of a clustering without true labels: sizes, centres, margins, stability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from spkssl.errors import complain
from spkssl.metrics.clusters import ari, nmi
from spkssl.metrics.contingency import NOISE, contingency, labels

_BLOCK_CELLS = 1 << 24  # similarities held at a time: 64 MB of float32


@dataclass(frozen=True, eq=False)
class Sizes:
    """`histogram[i]` clusters have from 2**i to 2**(i + 1) - 1 members."""

    n_clusters: int
    n_left_out: int
    smallest: int
    median: float
    largest: int
    n_singletons: int
    histogram: NDArray


@dataclass(frozen=True, eq=False)
class CentreFit:
    """How items lie between their own centre and the nearest other one, by cosine; one value per assigned item."""

    own: NDArray  # (M,) similarity to the own centre
    rival: NDArray  # (M,) the greatest similarity to another centre
    silhouette_values: NDArray  # (M,) in -1..1

    @property
    def margin(self) -> float:
        """Mean of own - rival: what the assignment could lose before it changes."""
        return float((self.own - self.rival).mean())

    @property
    def silhouette(self) -> float:
        return float(self.silhouette_values.mean())

    @property
    def share_misplaced(self) -> float:
        """Share of items to which another centre is nearer than their own."""
        return float((self.rival > self.own).mean())


@dataclass(frozen=True, eq=False)
class Stability:
    """Agreement of clusterings of two random parts of the data on what the parts share; one value per round."""

    ari: NDArray
    nmi: NDArray


def size_histogram(clusters: ArrayLike) -> Sizes:
    """Cluster sizes in powers of two; -1 marks items left out."""
    clusters = labels(clusters, "clusters")
    sizes = np.unique(clusters[clusters != NOISE], return_counts=True)[1]
    if not len(sizes):
        raise complain("clusters", "there is no assigned item", "cluster again")
    return Sizes(
        n_clusters=len(sizes),
        n_left_out=int((clusters == NOISE).sum()),
        smallest=int(sizes.min()),
        median=float(np.median(sizes)),
        largest=int(sizes.max()),
        n_singletons=int((sizes == 1).sum()),
        histogram=np.bincount(np.frexp(sizes)[1] - 1),  # frexp's exponent is exact where log2 is not
    )


def centre_fit(x: NDArray, clusters: ArrayLike) -> CentreFit:
    """Simplified silhouette and assignment margin of (N, D) embeddings; centres are means of unit rows, made unit.

    The silhouette is (b - a) / max(a, b) with a, b = 1 - cosine to the own and to the rival centre, and 0 in a cluster
    of one (Rousseeuw 1987), which would else praise clusterings into single items.
    """
    clusters = labels(clusters, "clusters")
    if x.ndim != 2 or len(x) != len(clusters):
        what = f"got {len(clusters)} labels for embeddings of shape {x.shape} (expected one per row)"
        raise complain("clusters", what)
    assigned = clusters != NOISE
    x = _unit(x[assigned].astype(np.float32, copy=False))
    _, label, sizes = np.unique(clusters[assigned], return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise complain("clusters", f"got {len(sizes)} clusters (expected at least 2)", "ask for more clusters")
    members = csr_array((np.ones(len(x), np.float32), (label, np.arange(len(x)))), (len(sizes), len(x)))
    centres = _unit(members @ x)  # (K, D)
    own, rival = _own_and_rival(x, label, centres)
    a, b = (1 - own).clip(min=0), (1 - rival).clip(min=0)
    worse = np.maximum(a, b)
    silhouette = np.divide(b - a, worse, out=np.zeros_like(a), where=(worse > 0) & (sizes[label] > 1))
    return CentreFit(own, rival, silhouette)


def stability(
    fit_predict: Callable[[NDArray, np.random.Generator], NDArray],
    x: NDArray,
    rng: np.random.Generator,
    rounds: int = 5,
    share: float = 0.8,
) -> Stability:
    """Cluster pairs of random parts of the rows, `share` each, and compare the labels of the rows in both.

    Items that either clustering left out are not compared.
    """
    if rounds < 1 or not 0.5 < share <= 1:
        what = f"got {rounds} rounds of share {share} (expected rounds >= 1 and 0.5 < share <= 1)"
        raise complain("stability", what)
    values = []
    for _ in range(rounds):
        found = np.full((2, len(x)), NOISE, np.int64)
        for row in found:
            part = np.sort(rng.permutation(len(x))[: round(share * len(x))])
            row[part] = fit_predict(x[part], rng)
        table = contingency(*found[:, (found != NOISE).all(0)])
        values.append((ari(table), nmi(table)))
    return Stability(*np.array(values).T)


def _own_and_rival(x: NDArray, label: NDArray, centres: NDArray) -> tuple[NDArray, NDArray]:
    own, rival = np.empty(len(x), np.float32), np.empty(len(x), np.float32)
    step = max(1, _BLOCK_CELLS // len(centres))
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        similarity = x[part] @ centres.T  # (block, K)
        item = np.arange(len(similarity))
        own[part] = similarity[item, label[part]]
        similarity[item, label[part]] = -np.inf
        rival[part] = similarity.max(1)
    return own, rival


def _unit(x: NDArray) -> NDArray:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    bad = np.flatnonzero(~np.isfinite(length[:, 0]) | (length[:, 0] == 0))
    if len(bad):
        raise complain("embeddings", f"{len(bad)} of {len(x)} vectors are zero or not finite", "extract them again")
    return x / length
