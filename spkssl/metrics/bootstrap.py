"""Confidence intervals that resample speakers: trials that share a speaker are not independent.

A replicate draws as many speakers as there are, with replacement. A trial between two speakers then counts as often as
the product of how often the two were drawn, a trial within one speaker as often as that speaker was drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spkssl.errors import choose, complain
from spkssl.metrics.dcf import min_dcf
from spkssl.metrics.eer import eer
from spkssl.metrics.staircase import Ordered, Weighted, order

METRICS = ("eer", "min_dcf")
_TRIES = 100  # draws of a replicate before both classes must have come up

Metric = Callable[[Ordered], float]


@dataclass(frozen=True, eq=False)
class Interval:
    """A value, its percentile interval, and the value in every replicate."""

    estimate: float
    low: float
    high: float
    replicates: NDArray = field(repr=False)  # (n,)


def bootstrap_eer(
    scores: ArrayLike,
    is_target: ArrayLike,
    enrol_speaker: ArrayLike,
    test_speaker: ArrayLike,
    rng: np.random.Generator,
    n: int = 1000,
    level: float = 0.95,
) -> Interval:
    """The EER (staircase with interpolation) with its interval; speakers are names or numbers, one pair per trial."""
    replicates = _Replicates([scores], is_target, enrol_speaker, test_speaker)
    return replicates.interval(_eer, rng, n, level)


def bootstrap_min_dcf(
    scores: ArrayLike,
    is_target: ArrayLike,
    enrol_speaker: ArrayLike,
    test_speaker: ArrayLike,
    rng: np.random.Generator,
    p_target: float = 0.01,
    n: int = 1000,
    level: float = 0.95,
) -> Interval:
    """The normalised minDCF with its interval."""
    replicates = _Replicates([scores], is_target, enrol_speaker, test_speaker)
    return replicates.interval(partial(_min_dcf, p_target=p_target), rng, n, level)


def paired_difference(
    scores: ArrayLike,
    other_scores: ArrayLike,
    is_target: ArrayLike,
    enrol_speaker: ArrayLike,
    test_speaker: ArrayLike,
    rng: np.random.Generator,
    metric: str = "eer",
    p_target: float = 0.01,
    n: int = 1000,
    level: float = 0.95,
) -> Interval:
    """The first system's metric minus the other's on the same trials, both on the same draws of speakers."""
    choose("bootstrap metric", metric, METRICS)
    replicates = _Replicates([scores, other_scores], is_target, enrol_speaker, test_speaker)
    return replicates.interval(_eer if metric == "eer" else partial(_min_dcf, p_target=p_target), rng, n, level)


def _eer(scores: Ordered) -> float:
    return eer(scores).rate


def _min_dcf(scores: Ordered, p_target: float) -> float:
    return min_dcf(scores, p_target=p_target).cost


class _Pairs:
    """Trials of one class in the order of their scores, with the speakers of each."""

    def __init__(self, scores: NDArray, enrol: NDArray, test: NDArray, speakers: int) -> None:
        rank = np.argsort(scores, kind="stable")
        self.scores, self.enrol = scores[rank], enrol[rank]
        # Within one speaker the second factor is the constant 1, kept behind the last speaker.
        self.test = np.where(test == enrol, speakers, test)[rank]

    def cumulative(self, drawn: NDArray) -> NDArray:
        total = np.zeros(len(self.scores) + 1, np.int64)
        np.cumsum(drawn[self.enrol] * drawn[self.test], out=total[1:])
        return total


class _Replicates:
    """The same trials scored by one system or two."""

    def __init__(
        self, systems: list[ArrayLike], is_target: ArrayLike, enrol_speaker: ArrayLike, test_speaker: ArrayLike
    ) -> None:
        is_target, enrol, test = np.asarray(is_target), np.asarray(enrol_speaker), np.asarray(test_speaker)
        systems = [np.asarray(scores) for scores in systems]
        shapes = {array.shape for array in (is_target, enrol, test, *systems)}
        if len(shapes) > 1 or is_target.dtype != bool:
            raise complain(
                "bootstrap",
                f"got shapes {sorted(shapes)} and a target mask of type {is_target.dtype}"
                " (expected one shape for scores, mask and speakers, and a boolean mask)",
            )
        self.ordered = [order(scores, is_target) for scores in systems]
        names, codes = np.unique(np.concatenate([enrol, test]), return_inverse=True)
        self.speakers = len(names)
        enrol, test = np.split(codes.reshape(-1), 2)
        self.pairs = [
            [_Pairs(scores[side], enrol[side], test[side], self.speakers) for side in (is_target, ~is_target)]
            for scores in systems
        ]

    def interval(self, metric: Metric, rng: np.random.Generator, n: int, level: float) -> Interval:
        if n < 1 or not 0 < level < 1:
            raise complain("bootstrap", f"got {n} replicates at level {level} (expected n >= 1 and 0 < level < 1)")
        values = np.array([self._contrast(metric, self._draw(rng)) for _ in range(n)])
        low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
        return Interval(self._contrast(metric, self.ordered), float(low), float(high), values)

    @staticmethod
    def _contrast(metric: Metric, systems: list[Ordered]) -> float:
        first, *other = (metric(scores) for scores in systems)
        return first - other[0] if other else first

    def _draw(self, rng: np.random.Generator) -> list[Ordered]:
        for _ in range(_TRIES):
            drawn = np.bincount(rng.integers(self.speakers, size=self.speakers), minlength=self.speakers)
            drawn = np.append(drawn, 1)
            weights = [[pairs.cumulative(drawn) for pairs in system] for system in self.pairs]
            if all(cumulative[-1] for cumulative in weights[0]):  # a class without a trial has no error rate
                return [
                    Weighted(base.targets, base.nontargets, base, *cumulative)
                    for base, cumulative in zip(self.ordered, weights, strict=True)
                ]
        raise complain(
            "bootstrap",
            f"{_TRIES} draws of {self.speakers} speakers never held trials of both classes",
            "use a list with more speakers",
        )
