"""Collapse and other illnesses, told from the scalars a method logs, before GPU days are spent on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class HealthConfig:
    action: Literal["stop", "warn", "off"] = "warn"
    warmup: float = 0.25  # share of the steps without alarms: early collapse often heals
    patience: int = 3  # log lines in a row before an alarm
    embed_std: float = 0.2  # std over the batch of unit embeddings, times sqrt(D): 1 when spread, 0 when collapsed
    embed_cos: float = 0.9  # mean cosine between different utterances: near 0 when spread, 1 when collapsed
    entropy: float = 0.3  # entropy of the mean teacher output over ln K: 1 when all outputs are used


@dataclass(frozen=True)
class _Rule:
    scalar: str
    sign: int  # +1: ill when above the limit
    hint: str


_RULES = (
    _Rule("embed_std", -1, "embeddings collapse to a point: colder teacher, lower learning rate, or koleo/me-max on"),
    _Rule("embed_cos", +1, "all embeddings look alike: colder teacher, lower learning rate, or koleo/me-max on"),
    _Rule("entropy", -1, "few outputs are used: use sinkhorn targets, raise me-max, or a faster centre"),
)


@dataclass
class Monitor:
    """Counts how long each scalar has been ill; its counts are part of the checkpoint."""

    config: HealthConfig
    ill: dict[str, int] = field(default_factory=dict)

    def check(self, scalars: Mapping[str, float], fraction: float) -> str:
        """What is wrong and what to do about it; '' while all is well."""
        if self.config.action == "off" or fraction < self.config.warmup:
            return ""
        return "; ".join(filter(None, (self._apply(rule, scalars.get(rule.scalar, math.nan)) for rule in _RULES)))

    def _apply(self, rule: _Rule, value: float) -> str:
        if math.isnan(value):
            return ""
        limit: float = getattr(self.config, rule.scalar)
        count = self.ill.get(rule.scalar, 0) + 1 if (value - limit) * rule.sign > 0 else 0
        self.ill[rule.scalar] = count
        if count != self.config.patience:
            return ""
        side = "above" if rule.sign > 0 else "below"
        return f"{rule.scalar} = {value:.3g} is {side} {limit:g} for {count} log lines; {rule.hint}"

    def state(self) -> dict[str, Any]:
        return {"ill": dict(self.ill)}
