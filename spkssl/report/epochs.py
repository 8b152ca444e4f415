"""The lines of a metrics.jsonl by epoch, each with the number of steps that it is the mean of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spkssl.report.run import metric_lines

Lines = Sequence[tuple[int, dict[str, Any]]]  # steps, scalars


def by_epoch(metrics: Path) -> dict[int, Lines]:
    """Epoch -> its lines. None tells of two epochs: lines end every few steps and where an epoch ends."""
    found: dict[int, list[tuple[int, dict[str, Any]]]] = {}
    before = 0
    for line in metric_lines(metrics):
        found.setdefault(int(line.get("epoch", 0)), []).append((line["step"] - before, line))
        before = line["step"]
    return {epoch: found[epoch] for epoch in sorted(found)}


def total(lines: Lines, name: str) -> float | None:
    """A scalar summed over the steps; None where no line has it."""
    held = _held(lines, name)
    return sum(steps * value for steps, value in held) if held else None


def mean(lines: Lines, name: str) -> float | None:
    """A scalar's mean over the steps of the lines that have it."""
    held = _held(lines, name)
    steps = sum(steps for steps, _ in held)
    return sum(steps * value for steps, value in held) / steps if steps else None


def _held(lines: Lines, name: str) -> list[tuple[int, float]]:
    return [(steps, line[name]) for steps, line in lines if isinstance(line.get(name), int | float)]
