"""Schedules: pure functions of where training stands. Nothing here has state, so a resumed run needs none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from spkssl.contract import Progress


def linear(start: float, end: float, fraction: float) -> float:
    """From start to end, constant outside 0..1. SSRL's EMA decay: linear(0.999, 0.9999, t.fraction)."""
    fraction = min(max(fraction, 0.0), 1.0)
    return start + (end - start) * fraction if fraction < 1.0 else end


def cosine(start: float, end: float, fraction: float) -> float:
    """Half a cosine from start to end, constant outside 0..1.

    DINO's EMA momentum m_t = 1 - (1 - m_0) (1 + cos(pi t / T)) / 2 is cosine(m_0, 1, t.fraction).
    """
    fraction = min(max(fraction, 0.0), 1.0)
    return end + 0.5 * (1.0 + math.cos(math.pi * fraction)) * (start - end)


def warmup(step: int, steps: int) -> float:
    """0 at the first step, 1 at the last of the warm-up and after it: DINO's linspace(0, 1, steps)."""
    return 1.0 if step >= steps else step / max(steps - 1, 1)


def step_decay(start: float, factor: float, epoch: int, every: int) -> float:
    """Times the factor after every so many epochs: LGL's 0.9 each 5, AAMSupCon's 0.97 each 1."""
    return start * factor ** (epoch // every)


def exponential(start: float, end: float, fraction: float) -> float:
    """The geometric path from start to end."""
    return start * (end / start) ** min(max(fraction, 0.0), 1.0)


def epoch_ramp(start: float, end: float, epoch: int, epochs: int) -> float:
    """linspace(start, end, epochs)[epoch], then end: constant within an epoch.

    DINO's teacher temperature: epoch_ramp(0.04, 0.07, t.epoch, 30). RDINO's weight of the regulariser:
    epoch_ramp(0.05, 0.2, t.epoch, 10).
    """
    return end if epoch >= epochs - 1 else start + (end - start) * epoch / (epochs - 1)


def margin(target: float, fraction: float, start: float, stop: float, shape: Literal["linear", "exponential"]) -> float:
    """A margin that is 0 before `start`, `target` after `stop` (fractions of the run), and grows between them.

    "exponential" is wespeaker's growth: 1 - 0.001^x, fast at first.
    """
    if fraction >= stop:
        return target
    x = max(fraction - start, 0.0) / (stop - start)
    return target * (x if shape == "linear" else 1.0 - 1e-3**x)


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate moves. The base rate is the optimiser's; warm-up may be given in epochs or as a share."""

    kind: Literal["cosine", "constant", "step", "exponential", "two_phase"] = "cosine"
    warmup_epochs: float = 0.0  # linear from 0
    warmup_fraction: float = 0.0  # of all steps
    floor: float = 0.0  # last rate of cosine, exponential, two_phase
    floor_ratio: float = 0.0  # the same as a share of the base rate, for recipes that scale it with the batch
    decay: float = 0.9  # step: factor
    every: int = 5  # step: epochs between two decays
    first_epochs: int = 5  # two_phase: length of the first phase (SSRL: labels still fixed)
    first_ratio: float = 0.2  # two_phase: rate of the first phase over the base rate (SSRL: 1e-4 / 5e-4)
    late_start: float = 0.0  # two_phase: rate of the first step, all else a step later (SSRL's released code: 1e-3)

    def __post_init__(self) -> None:
        if self.warmup_epochs and self.warmup_fraction:
            raise ValueError("give warmup_epochs or warmup_fraction, not both")
        if self.floor and self.floor_ratio:
            raise ValueError("give floor or floor_ratio, not both")
        if self.kind == "exponential" and not (self.floor or self.floor_ratio):
            raise ValueError("an exponential schedule needs a floor above 0")
        if self.every < 1:
            raise ValueError(f"every must be at least 1 epoch (got {self.every})")


def learning_rate(config: ScheduleConfig, base: float, t: Progress) -> float:
    """The rate of the optimiser step that is about to be made."""
    floor = config.floor or config.floor_ratio * base
    steps = round(config.warmup_epochs * t.steps_per_epoch + config.warmup_fraction * t.total)
    gain = warmup(t.step, steps)
    if config.kind == "cosine":
        # The cosine starts when the warm-up ends, at the base rate.
        return gain * base if t.step < steps else cosine(base, floor, (t.step - steps) / max(t.total - steps, 1))
    if config.kind == "two_phase":
        return gain * _two_phase(config, base, floor, t)
    if config.kind == "exponential":
        return gain * exponential(base, floor, t.fraction)
    if config.kind == "step":
        return gain * step_decay(base, config.decay, t.epoch, config.every)
    return gain * base


def _two_phase(config: ScheduleConfig, base: float, floor: float, t: Progress) -> float:
    """Two cosines, each down to the floor; SSRL counts steps from 1, so each phase ends on it exactly."""
    step = t.step - bool(config.late_start)
    if step < 0:
        return config.late_start
    first = min(config.first_epochs * t.steps_per_epoch, t.total)
    if step < first:
        return cosine(config.first_ratio * base, floor, (step + 1) / first)
    return cosine(base, floor, (step - first + 1) / max(t.total - first, 1))
