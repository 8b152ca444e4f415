"""Detection costs: the least one over all thresholds, and the one at the Bayes threshold of calibrated scores."""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spkssl.errors import choose, complain
from spkssl.metrics.staircase import Ordered, order

DEFINITIONS = ("staircase", "kaldi")


class CostPoint(NamedTuple):
    cost: float  # divided by min(c_miss * p_target, c_fa * (1 - p_target))
    threshold: float
    p_miss: float
    p_fa: float


def min_dcf(
    targets: ArrayLike | Ordered,
    nontargets: ArrayLike | None = None,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
    definition: str = "staircase",
) -> CostPoint:
    """The least normalised cost over all thresholds, at most 1; the lowest threshold wins a draw.

    `kaldi` is sid/compute_min_dcf.py with tied targets before tied non-targets: it cannot accept everything, and its
    threshold is the last score rejected (accept iff score > threshold).
    """
    choose("minDCF definition", definition, DEFINITIONS)
    _check(p_target, c_miss, c_fa)
    scores = order(targets, nontargets)
    misses, false_alarms = scores.corners
    # The script's first point rejects one sample; instead of accepting all it can give up the lowest target.
    gives_up_one = definition == "kaldi" and misses[0] == 0 and false_alarms[0] == scores.n_nontarget
    if gives_up_one:
        misses = np.r_[1, misses[1:]]
    p_miss, p_fa = misses / scores.n_target, false_alarms / scores.n_nontarget
    cost = c_miss * p_target * p_miss
    cost += c_fa * (1 - p_target) * p_fa
    best = int(np.argmin(cost))
    threshold = scores.corner_threshold(best)
    if definition == "kaldi" and not (gives_up_one and best == 0):
        threshold = scores.previous(threshold)
    value = float(cost[best]) / _norm(p_target, c_miss, c_fa)
    return CostPoint(value, threshold, float(p_miss[best]), float(p_fa[best]))


def act_dcf(
    targets: ArrayLike | Ordered,
    nontargets: ArrayLike | None = None,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> CostPoint:
    """The normalised cost of natural-log likelihood ratios at the Bayes threshold; it can exceed 1."""
    scores = order(targets, nontargets)
    threshold = bayes_threshold(p_target, c_miss, c_fa)
    p_miss, p_fa = scores.rates(threshold)
    cost = (c_miss * p_target * p_miss + c_fa * (1 - p_target) * p_fa) / _norm(p_target, c_miss, c_fa)
    return CostPoint(cost, threshold, p_miss, p_fa)


def bayes_threshold(p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
    """The log-likelihood ratio above which accepting is the cheaper decision."""
    _check(p_target, c_miss, c_fa)
    return log(c_fa * (1 - p_target) / (c_miss * p_target))


def effective_prior(p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
    """The target prior that with unit costs asks for the same decisions."""
    _check(p_target, c_miss, c_fa)
    return p_target * c_miss / (p_target * c_miss + (1 - p_target) * c_fa)


def _norm(p_target: float, c_miss: float, c_fa: float) -> float:
    return min(c_miss * p_target, c_fa * (1 - p_target))


def _check(p_target: float, c_miss: float, c_fa: float) -> None:
    if not 0 < p_target < 1:
        raise complain("p_target", f"got {p_target} (expected a number between 0 and 1)")
    if not (c_miss > 0 and c_fa > 0):
        raise complain("costs", f"got c_miss {c_miss} and c_fa {c_fa} (expected positive numbers)")
