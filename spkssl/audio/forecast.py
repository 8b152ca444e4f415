"""What a long piece of work will take, told from the first of it; refused where the disk is too small."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from spkssl.errors import complain

_RESERVE = 1.02  # a disk filled to the last byte helps nobody
_FIRST = 5.0  # seconds of work from which a rate is told
_LONG = 60.0  # what takes no longer than this many seconds needs no warning


class Forecast(NamedTuple):
    seconds: float
    bytes: int

    def __str__(self) -> str:
        return f"about {duration(self.seconds)} and {size(self.bytes)} of disk"


def measure(done: int, seconds: float, written: int, left: int) -> Forecast:
    """What is left takes, at the rate of what is done."""
    if done < 1:
        raise ValueError("nothing was measured")
    return Forecast(seconds * left / done, round(written * left / done))


class Pace:
    """Told how much of `total` is done, it tells once, from the rate of the first seconds, what all of it takes.

    Of work below a minute it says nothing. What comes before the first call, such as loading, does not count.
    """

    def __init__(self, total: int, tell: Callable[[float], object], clock: Callable[[], float] = time.monotonic):
        self._total, self._tell, self._clock = total, tell, clock
        self._begin: tuple[float, int] | None = None
        self._told = False

    def __call__(self, done: int) -> None:
        if self._told:
            return
        now = self._clock()
        start, before = self._begin = self._begin or (now, done)
        if now - start >= _FIRST and done > before:
            self._told = True
            seconds = measure(done - before, now - start, 0, self._total).seconds
            if seconds > _LONG:
                self._tell(seconds)


def require_space(folder: Path, needed: int, do: str) -> None:
    """An InputError unless the disk of `folder`, which need not exist yet, has so many bytes left."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if needed * _RESERVE > free:
        raise complain(folder, f"the disk is too small (got {size(free)} free, expected {size(needed)})", do)


def duration(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float) -> str:
    """As disks are sold: 1 GB is 10^9 bytes."""
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
