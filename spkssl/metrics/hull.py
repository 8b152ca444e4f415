"""The lower convex hull of the staircase, whose edges are the runs that pooling adjacent violators (PAV) makes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spkssl.metrics.staircase import Ordered, order


@dataclass(frozen=True, eq=False)
class Pools:
    """Runs of scores that PAV pools, ascending: within a run the posterior is targets / (targets + nontargets)."""

    targets: NDArray  # (P,) targets in each run
    nontargets: NDArray  # (P,)
    threshold: NDArray  # (P,) accepts this run and all above it; the first is the accept-all point

    @property
    def posterior(self) -> NDArray:
        return self.targets / (self.targets + self.nontargets)


def pools(targets: ArrayLike | Ordered, nontargets: ArrayLike | None = None) -> Pools:
    """PAV on 0/1 labels sorted by score, ties pooled in advance, in exact integer arithmetic."""
    scores = order(targets, nontargets)
    misses, false_alarms = scores.corners
    # Accept-all is no corner when a non-target is the least score.
    rejected = np.concatenate([[0], scores.n_nontarget - false_alarms])
    misses = np.concatenate([[0], misses])
    vertices = lower_hull(rejected, misses)
    threshold = [min(scores.targets[0], scores.nontargets[0])]
    threshold += [scores.corner_threshold(k - 1) for k in vertices[1:-1]]
    return Pools(np.diff(misses[vertices]), np.diff(rejected[vertices]), np.array(threshold, np.float64))


def lower_hull(x: NDArray, y: NDArray) -> NDArray:
    """Indices of the vertices of the lower hull of integer points that ascend in both coordinates.

    Quickhull on all segments at once: a scalar chain would take seconds at ten million trials.
    """
    vertices = np.array([0, len(x) - 1])
    inside = np.arange(1, len(x) - 1)
    while inside.size:
        segment = np.searchsorted(vertices, inside) - 1
        start, end = vertices[:-1], vertices[1:]
        run, rise = (x[end] - x[start])[segment], (y[end] - y[start])[segment]
        start = start[segment]
        height = run * (y[inside] - y[start]) - rise * (x[inside] - x[start])  # negative: under the chord
        under = height < 0  # what is not under a chord of the set is no vertex
        inside, segment, height = inside[under], segment[under], height[under]
        if not inside.size:
            break
        first = np.flatnonzero(np.r_[True, segment[1:] != segment[:-1]])
        depth = np.minimum.reduceat(height, first)
        lowest = np.flatnonzero(height == np.repeat(depth, np.diff(np.r_[first, len(inside)])))
        lowest = lowest[np.r_[True, segment[lowest[1:]] != segment[lowest[:-1]]]]  # one per segment
        vertices = np.sort(np.concatenate([vertices, inside[lowest]]))
        inside = np.delete(inside, lowest)
    return vertices
