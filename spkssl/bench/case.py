"""What is measured: a case is one piece of work, done by this toolkit and perhaps by others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Facts = Mapping[str, float | int | str]

SMALL = 100  # how many times smaller a case becomes with --small
OURS = "spkssl"

# What utils/recipe.sh sets: freed tensors stay with the process instead of going back to the system at every step.
TRAINING_ENV = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184"}


@dataclass(frozen=True)
class Work:
    """Something that is ready to run: all it reads is in memory, unless reading is what is measured."""

    call: Callable[[], Facts | None]  # done `repeat` times; what it returns is reported beside the seconds
    amount: float  # done in one call, in `unit`
    unit: str
    parts: int = 1  # equal parts of a call; the seconds reported are those of one part
    per_thread: bool = False  # the rate is divided by the threads


@dataclass(frozen=True)
class Target:
    """What this toolkit set out to reach at full size on two idle cores."""

    seconds: float | None = None  # at most
    peak_mb: int | None = None  # at most
    rate: float | None = None  # at least


@dataclass(frozen=True)
class Case:
    """`prepare` writes into a folder what every run reads, in a process of its own: its memory is nobody's peak."""

    what: str
    run: Callable[[Path, bool], Work]  # (folder, small)
    prepare: Callable[[Path, bool], None] | None = None
    peers: Mapping[str, Callable[[Path, bool], Work]] = field(default_factory=dict)
    target: Target = Target()
    elsewhere: Mapping[str, float] = field(default_factory=dict)  # seconds of others, measured once on two cores
    env: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None  # whatever --threads says

    def runs(self) -> dict[str, Callable[[Path, bool], Work]]:
        return {OURS: self.run, **self.peers}


class Skip(Exception):
    """The case cannot be measured on this machine; the message says why."""


def sized(full: int, small: bool, least: int = 1) -> int:
    """The size of a case: `full`, or a hundredth of it but at least `least`."""
    return max(least, full // SMALL) if small else full


def spread_of(values: list[float]) -> dict[str, Any]:
    """Least, median and greatest of some measurements, and all of them in order."""
    ranked = sorted(values)
    middle = len(ranked) // 2
    median = ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2
    return {"min": ranked[0], "median": median, "max": ranked[-1], "each": values}
