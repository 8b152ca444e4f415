"""Target and non-target scores in order, and the staircase of (P_fa, P_miss) that every curve metric walks on.

A trial is accepted iff score >= threshold. Candidate thresholds are the distinct scores and +infinity, so tied scores
move together and nothing depends on the order of the trials. All counts are integers: comparisons are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spkssl.errors import complain


@dataclass(frozen=True, eq=False)
class Ordered:
    """Scores of the two classes, each ascending, finite and of one dtype; `order` makes it."""

    targets: NDArray
    nontargets: NDArray

    @cached_property
    def corner_index(self) -> tuple[NDArray, NDArray]:
        """For each distinct target score: how many targets and how many non-targets lie below it.

        Only there (and at +infinity) can a cost have its minimum: a higher threshold with the same misses rejects more
        non-targets.
        """
        below = np.flatnonzero(np.r_[True, self.targets[1:] != self.targets[:-1]])
        return below, np.searchsorted(self.nontargets, self.targets[below])

    @cached_property
    def n_target(self) -> int:
        return int(self._target_count(len(self.targets)))

    @cached_property
    def n_nontarget(self) -> int:
        return int(self._nontarget_count(len(self.nontargets)))

    @cached_property
    def corners(self) -> tuple[NDArray, NDArray]:
        """Misses and false alarms, each (K + 1,), at the K distinct target scores and at +infinity."""
        targets, nontargets = self.corner_index
        misses = np.append(self._target_count(targets), self.n_target)
        false_alarms = np.append(self.n_nontarget - self._nontarget_count(nontargets), 0)
        return misses, false_alarms

    def corner_threshold(self, k: int) -> float:
        below = self.corner_index[0]
        return float(self.targets[below[k]]) if k < len(below) else np.inf

    def counts(self, threshold: float) -> tuple[int, int]:
        """Misses and false alarms at a threshold."""
        misses = self._target_count(_below(self.targets, threshold))
        return int(misses), self.n_nontarget - int(self._nontarget_count(_below(self.nontargets, threshold)))

    def rates(self, threshold: float) -> tuple[float, float]:
        """P_miss and P_fa at a threshold."""
        misses, false_alarms = self.counts(threshold)
        return misses / self.n_target, false_alarms / self.n_nontarget

    def gap(self, threshold: float) -> int:
        """P_miss - P_fa times both class sizes; does not fall as the threshold rises."""
        misses, false_alarms = self.counts(threshold)
        return misses * self.n_nontarget - false_alarms * self.n_target

    def previous(self, threshold: float) -> float:
        """The greatest score below a threshold, -infinity if there is none."""
        ends = [(scores, _below(scores, threshold)) for scores in (self.targets, self.nontargets)]
        return max((float(scores[end - 1]) for scores, end in ends if end), default=-np.inf)

    def following(self, threshold: float) -> float:
        """The least score above a threshold, +infinity if there is none."""
        above = np.nextafter(threshold, np.inf)
        starts = [(scores, _below(scores, above)) for scores in (self.targets, self.nontargets)]
        return min((float(scores[start]) for scores, start in starts if start < len(scores)), default=np.inf)

    def _target_count(self, index):
        return index

    def _nontarget_count(self, index):
        return index


@dataclass(frozen=True, eq=False)
class Weighted(Ordered):
    """The same scores where a trial counts a whole number of times, zero included."""

    base: Ordered
    target_weight: NDArray  # (Nt + 1,) cumulative, int64, in the order of `targets`
    nontarget_weight: NDArray  # (Nn + 1,)

    @cached_property
    def corner_index(self) -> tuple[NDArray, NDArray]:
        return self.base.corner_index

    def _target_count(self, index):
        return self.target_weight[index]

    def _nontarget_count(self, index):
        return self.nontarget_weight[index]


@dataclass(frozen=True, eq=False)
class Staircase:
    """Every point of the curve, from accept-all to reject-all, by ascending threshold (the last one is +infinity)."""

    threshold: NDArray
    misses: NDArray
    false_alarms: NDArray
    p_miss: NDArray
    p_fa: NDArray


def order(targets: ArrayLike | Ordered, nontargets: ArrayLike | None = None) -> Ordered:
    """Sorted scores from (target, non-target scores), from (scores, boolean mask of the targets), or as they are.

    float32 stays float32, everything else becomes float64.
    """
    if isinstance(targets, Ordered):
        return targets
    if nontargets is None:
        raise complain("scores", "only one list was given", "give target and non-target scores, or scores and a mask")
    targets, nontargets = _float(targets), np.asarray(nontargets)
    if nontargets.dtype == bool:
        if nontargets.shape != targets.shape:
            raise complain("scores", f"the target mask has shape {nontargets.shape} (expected {targets.shape})")
        targets, nontargets = targets[nontargets], targets[~nontargets]
        targets.sort()
        nontargets.sort()
    else:
        dtype = np.result_type(targets, _float(nontargets))
        targets, nontargets = np.sort(targets.astype(dtype, copy=False)), np.sort(nontargets.astype(dtype, copy=False))
    for name, scores in (("target", targets), ("non-target", nontargets)):
        _check(name, scores)
    return Ordered(targets, nontargets)


def staircase(targets: ArrayLike | Ordered, nontargets: ArrayLike | None = None) -> Staircase:
    """The whole curve as data: one point per distinct score and one more."""
    scores = order(targets, nontargets)
    distinct = np.unique(np.concatenate([scores.targets, scores.nontargets]))
    misses = np.append(scores._target_count(np.searchsorted(scores.targets, distinct)), scores.n_target)
    rejected = scores._nontarget_count(np.searchsorted(scores.nontargets, distinct))
    false_alarms = np.append(scores.n_nontarget - rejected, 0)
    threshold = np.append(distinct, np.array(np.inf, distinct.dtype))
    return Staircase(threshold, misses, false_alarms, misses / scores.n_target, false_alarms / scores.n_nontarget)


def _float(scores: ArrayLike) -> NDArray:
    scores = np.asarray(scores)
    if scores.ndim != 1 or scores.dtype.kind not in "fiu":
        what = f"got an array of shape {scores.shape} and type {scores.dtype} (expected a list of numbers)"
        raise complain("scores", what)
    return scores if scores.dtype in (np.float32, np.float64) else scores.astype(np.float64)


def _check(name: str, scores: NDArray) -> None:
    if not len(scores):
        raise complain("scores", f"there is no {name} trial", "give scores of both classes")
    # Sorting puts NaN and infinities at the ends.
    if not (np.isfinite(scores[0]) and np.isfinite(scores[-1])):
        bad = np.count_nonzero(~np.isfinite(scores))
        what = f"{bad} of {len(scores)} {name} scores are not finite"
        raise complain("scores", what, "repair or leave out those trials")


def _below(scores: NDArray, threshold: float) -> int:
    """How many of the sorted scores are less than the threshold, compared without rounding it."""
    with np.errstate(over="ignore"):
        value = scores.dtype.type(threshold)
    if float(value) < threshold:  # the cast rounded down: x < threshold iff x < the next number there is
        value = np.nextafter(value, scores.dtype.type(np.inf))
    return int(np.searchsorted(scores, value))
