"""When rounds of pseudo labels end, told without true labels: from what the rounds themselves left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal


@dataclass(frozen=True)
class RoundStopConfig:
    """The setting `retrain.stop`. Published systems run a fixed number of rounds, or until trials with labels stop
    getting better; the rules that need no labels, and their numbers, are ours.

    fixed: never before --rounds; stability: the labels hardly change any more; acceptance: the gate lets nearly all
    of them teach, or hardly more than the round before (of gates that find the share themselves); change: the clusters
    hardly get more compact.
    """

    rule: Literal["fixed", "stability", "acceptance", "change"] = "fixed"
    earliest: int = 1  # rounds that are made in any case
    measure: Literal["nmi", "ari"] = "ari"  # stability: NMI is high between any two fine clusterings
    agreement: float = 0.9  # stability: with the labels before, from which on it ends
    accepted: float = 0.95  # acceptance: share that passes the gate, from which on it ends
    growth: float = 0.01  # acceptance: rise of that share since the round before, below which it ends
    quality: Literal["silhouette", "margin"] = "silhouette"  # change: of the clustering, from its info.json
    tolerance: float = 0.02  # change: relative rise of the quality since the round before, below which it ends

    def __post_init__(self) -> None:
        if self.earliest < 1:
            raise ValueError(f"earliest: at least one round is made (got {self.earliest})")
        if not (0 < self.agreement <= 1 and 0 < self.accepted <= 1):
            raise ValueError(f"agreement and accepted lie in (0, 1] (got {self.agreement}, {self.accepted})")


@dataclass(frozen=True)
class RoundFacts:
    """What a round can say of itself; None: it cannot. Round 0 is what the first round started from."""

    nmi: float | None = None  # of its labels with those before
    ari: float | None = None
    accepted: float | None = None  # share of the labels it trained on that passed its gate
    silhouette: float | None = None  # of its own clustering
    margin: float | None = None


@dataclass(frozen=True)
class RoundDecision:
    stop: bool
    why: str


def decide(config: RoundStopConfig, history: Sequence[RoundFacts]) -> RoundDecision:
    """Whether the last round of `history`, which begins with round 0, is to be the last one.

    A value the rule needs and the round cannot give is a ValueError that says which.
    """
    number, now, before = len(history) - 1, history[-1], history[-2]
    if config.rule == "fixed":
        return RoundDecision(False, "the number of rounds is fixed")
    if config.rule == "stability":
        stop, why = _stable(config, now)
    elif config.rule == "acceptance":
        stop, why = _accepted(config, now, before)
    else:
        stop, why = _changed(config, now, before)
    if stop and number < config.earliest:
        return RoundDecision(False, f"{why}, but {config.earliest} rounds are made in any case")
    return RoundDecision(stop, why)


def _stable(config: RoundStopConfig, now: RoundFacts) -> tuple[bool, str]:
    value = _known(getattr(now, config.measure), config.measure)
    return _at_least(f"{config.measure.upper()} with the labels before", value, config.agreement)


def _accepted(config: RoundStopConfig, now: RoundFacts, before: RoundFacts) -> tuple[bool, str]:
    value = _known(now.accepted, "share accepted")
    stop, why = _at_least("share accepted", value, config.accepted)
    if stop or before.accepted is None:
        return stop, why
    return _below("rise of the share accepted", value - before.accepted, config.growth)


def _changed(config: RoundStopConfig, now: RoundFacts, before: RoundFacts) -> tuple[bool, str]:
    new, old = (_known(getattr(facts, config.quality), config.quality) for facts in (now, before))
    # A clustering of no quality at all cannot be the measure of a change.
    change = (new - old) / abs(old) if old else inf
    return _below(f"relative rise of the {config.quality}", change, config.tolerance)


def _at_least(name: str, value: float, limit: float) -> tuple[bool, str]:
    return value >= limit, f"{name} {value:.4f} {'>=' if value >= limit else '<'} {limit:g}"


def _below(name: str, value: float, limit: float) -> tuple[bool, str]:
    return value < limit, f"{name} {value:.4f} {'<' if value < limit else '>='} {limit:g}"


def _known(value: float | None, name: str) -> float:
    if value is None:
        raise ValueError(name)
    return value
