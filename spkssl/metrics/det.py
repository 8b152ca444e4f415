"""The DET curve, and the thresholds that hold a false-alarm rate."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from spkssl.errors import complain
from spkssl.metrics.staircase import Ordered, order, staircase

TICKS = tuple(p / 100 for p in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40))  # error rates on both axes


class OperatingPoint(NamedTuple):
    threshold: float  # accept iff score >= threshold
    p_miss: float
    p_fa: float


@dataclass(frozen=True, eq=False)
class Det:
    """Points of the curve by ascending threshold; `x` and `y` are what a DET plot draws."""

    threshold: NDArray
    p_fa: NDArray
    p_miss: NDArray
    x: NDArray  # probit of p_fa
    y: NDArray  # probit of p_miss


def det_points(targets: ArrayLike | Ordered, nontargets: ArrayLike | None = None, limit: int | None = None) -> Det:
    """The turning points of the staircase; with `limit`, at most that many, spread evenly over the drawn curve."""
    scores = order(targets, nontargets)
    curve = staircase(scores)
    step_miss, step_fa = np.diff(curve.misses) != 0, np.diff(curve.false_alarms) != 0
    straight = (~step_miss[1:] & ~step_miss[:-1]) | (~step_fa[1:] & ~step_fa[:-1])
    kept = np.flatnonzero(np.r_[True, ~straight, True])
    x, y = probit(curve.p_fa[kept], scores.n_nontarget), probit(curve.p_miss[kept], scores.n_target)
    if limit is not None and limit < len(kept):
        if limit < 2:
            raise complain("limit", f"got {limit} (expected at least 2 points)")
        travelled = y - x  # ascends along the curve
        chosen = np.searchsorted(travelled, np.linspace(travelled[0], travelled[-1], limit))
        chosen = np.unique(np.r_[0, chosen[1:-1], len(kept) - 1])
        kept, x, y = kept[chosen], x[chosen], y[chosen]
    return Det(curve.threshold[kept], curve.p_fa[kept], curve.p_miss[kept], x, y)


def probit(rate: ArrayLike, count: int) -> NDArray:
    """The normal quantile of a rate that `count` trials gave, kept half a trial away from 0 and 1."""
    return ndtri(np.clip(rate, 1 / (2 * count), 1 - 1 / (2 * count)))


def threshold_at_far(
    targets: ArrayLike | Ordered, nontargets: ArrayLike | None = None, far: float = 0.01
) -> OperatingPoint:
    """The lowest threshold whose false-alarm rate is at most `far`."""
    if not 0 <= far <= 1:
        raise complain("far", f"got {far} (expected a rate between 0 and 1)")
    scores = order(targets, nontargets)
    allowed = floor(far * len(scores.nontargets) + 1e-9)  # 0.29 * 100 is a little less than 29
    if allowed >= len(scores.nontargets):
        threshold = float(min(scores.targets[0], scores.nontargets[0]))
    else:
        threshold = scores.following(float(scores.nontargets[-1 - allowed]))  # the best non-target to be rejected
    return OperatingPoint(threshold, *scores.rates(threshold))
