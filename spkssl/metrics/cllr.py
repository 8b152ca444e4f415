"""The cost of log-likelihood ratios and what is left of it after the best monotone calibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spkssl.metrics.hull import pools
from spkssl.metrics.staircase import Ordered, order

_BLOCK = 1 << 20  # scores whose float64 costs are held at a time


def cllr(targets: ArrayLike | Ordered, nontargets: ArrayLike | None = None) -> float:
    """Cllr in bits of natural-log likelihood ratios; 1 is what an empty answer costs."""
    scores = order(targets, nontargets)
    return (_mean_softplus(scores.targets, -1) + _mean_softplus(scores.nontargets, 1)) / (2 * np.log(2))


def min_cllr(targets: ArrayLike | Ordered, nontargets: ArrayLike | None = None) -> float:
    """Cllr after PAV, infinite likelihood ratios allowed; cllr - min_cllr is the calibration loss."""
    pooled = pools(targets, nontargets)
    n_target, n_nontarget = pooled.targets.sum(), pooled.nontargets.sum()
    mixed = (pooled.targets > 0) & (pooled.nontargets > 0)  # elsewhere the ratio is infinite on the right side: no cost
    p, q = pooled.targets[mixed] / n_target, pooled.nontargets[mixed] / n_nontarget  # e^llr = p / q
    return float((p * np.log1p(q / p) + q * np.log1p(p / q)).sum() / (2 * np.log(2)))


def _mean_softplus(scores: NDArray, sign: int) -> float:
    blocks = (scores[i : i + _BLOCK] for i in range(0, len(scores), _BLOCK))
    return float(sum(np.logaddexp(0, sign * block.astype(np.float64)).sum() for block in blocks)) / len(scores)
