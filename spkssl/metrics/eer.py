"""The equal error rate, by the definition of one's choice."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spkssl.errors import choose
from spkssl.metrics.hull import pools
from spkssl.metrics.staircase import Ordered, order, staircase


class ErrorPoint(NamedTuple):
    rate: float
    threshold: float  # accept iff score >= threshold


def eer(targets: ArrayLike | Ordered, nontargets: ArrayLike | None = None, definition: str = "staircase") -> ErrorPoint:
    """Equal error rate in 0..1 and a score near which it is reached; `definition` is a name in `EER`.

    `nontargets` may be the boolean mask of the targets among `targets`.
    """
    return EER[choose("EER definition", definition, EER)](order(targets, nontargets))


def _crossing(scores: Ordered) -> tuple[float, float]:
    """Neighbouring thresholds: the last with P_miss < P_fa and the first without."""

    def first(values) -> float:
        i = bisect_left(range(len(values)), True, key=lambda i: scores.gap(values[i]) >= 0)
        return float(values[i]) if i < len(values) else np.inf

    after = min(first(scores.targets), first(scores.nontargets))
    return scores.previous(after), after


def _interpolated(scores: Ordered) -> ErrorPoint:
    """Where the line between the two points around the sign change of P_miss - P_fa meets P_miss = P_fa."""
    a, b = _crossing(scores)
    return ErrorPoint(_meet(scores, scores.counts(a), scores.counts(b)), _nearer(scores, a, b))


def _meet(scores: Ordered, a: tuple[int, int], b: tuple[int, int]) -> float:
    n_target, n_nontarget = scores.n_target, scores.n_nontarget
    d_a, d_b = (misses * n_nontarget - false_alarms * n_target for misses, false_alarms in (a, b))
    # P_a + r (P_b - P_a), r = -d_a / (d_b - d_a), as one quotient of integers: rounded once
    return (a[0] * d_b - b[0] * d_a) / (n_target * (d_b - d_a))


def _nearer(scores: Ordered, a: float, b: float) -> float:
    """The one of two thresholds with the smaller |P_miss - P_fa|; never infinite, as the gap there is greatest."""
    return b if abs(scores.gap(b)) < abs(scores.gap(a)) else a


def _kaldi(scores: Ordered) -> ErrorPoint:
    """Kaldi's compute-eer: the first target p whose score beats the non-target at the mirrored rank."""
    n_target, n_nontarget = len(scores.targets), len(scores.nontargets)

    def beaten(p: int) -> bool:
        q = max(0, n_nontarget - 1 - n_nontarget * p // n_target)
        return bool(scores.nontargets[q] < scores.targets[p])

    p = bisect_left(range(n_target - 1), True, key=beaten)
    return ErrorPoint(p / n_target, float(scores.targets[p]))


def _roc_max(scores: Ordered) -> ErrorPoint:
    """The larger error at the point with the least |P_miss - P_fa| (sslsv); the higher threshold wins a draw."""
    a, b = _crossing(scores)
    point = a if abs(scores.gap(a)) < abs(scores.gap(b)) else b
    return ErrorPoint(max(scores.rates(point)), point)


def _sklearn(scores: Ordered) -> ErrorPoint:
    """As _roc_max on sklearn's roc_curve, which drops points in the middle of even runs (clovaai, LGL)."""
    curve = staircase(scores)
    # Reject-all, the last point, is added after the dropping.
    bends = (np.diff(curve.misses[:-1], 2) != 0) | (np.diff(curve.false_alarms[:-1], 2) != 0)
    kept = np.flatnonzero(np.r_[True, bends, True, True] if len(bends) else np.ones(len(curve.misses)))[::-1]
    gap = curve.misses[kept] * scores.n_nontarget - curve.false_alarms[kept] * scores.n_target
    best = kept[np.argmin(np.abs(gap))]
    return ErrorPoint(float(max(curve.p_miss[best], curve.p_fa[best])), float(curve.threshold[best]))


def _wespeaker(scores: Ordered) -> ErrorPoint:
    """Interpolation sample by sample (the NIST script, wespeaker, 3D-Speaker, SSRL).

    There the sort decides about ties; here targets go first, the pessimistic order, so the result is one. Samples go
    one at a time, so the crossing lies on a step of either P_miss or P_fa, never on a slope. The script lacks the
    accept-all point and fails where it is needed; here it is present.
    """
    a, b = _crossing(scores)
    misses, false_alarms = scores.counts(b)[0], scores.counts(a)[1]
    if misses * scores.n_nontarget >= false_alarms * scores.n_target:
        rate = false_alarms / scores.n_nontarget
    else:
        rate = misses / scores.n_target
    return ErrorPoint(rate, _nearer(scores, a, b))


def _speechbrain(scores: Ordered) -> ErrorPoint:
    """The mean error where |P_miss - P_fa| is least, accept-all left out; the lower threshold wins a draw."""
    a, b = _crossing(scores)
    accepts_all = scores.counts(a) == (0, scores.n_nontarget)
    point = b if accepts_all or abs(scores.gap(b)) < abs(scores.gap(a)) else a
    return ErrorPoint(sum(scores.rates(point)) / 2, point)


def _rocch(scores: Ordered) -> ErrorPoint:
    """Where the convex hull of the staircase meets P_miss = P_fa (BOSARIS): the worst prior's least Bayes error."""
    pooled = pools(scores)
    misses = np.r_[0, np.cumsum(pooled.targets)]
    false_alarms = scores.n_nontarget - np.r_[0, np.cumsum(pooled.nontargets)]
    threshold = np.r_[pooled.threshold, np.inf]
    gap = misses * scores.n_nontarget - false_alarms * scores.n_target
    b = int(np.searchsorted(gap, 0))
    points = [(int(misses[i]), int(false_alarms[i])) for i in (b - 1, b)]
    return ErrorPoint(_meet(scores, *points), _nearer(scores, float(threshold[b - 1]), float(threshold[b])))


EER: dict[str, Callable[[Ordered], ErrorPoint]] = {
    "staircase": _interpolated,
    "kaldi": _kaldi,
    "roc_max": _roc_max,
    "sklearn": _sklearn,
    "wespeaker": _wespeaker,
    "speechbrain": _speechbrain,
    "rocch": _rocch,
}
