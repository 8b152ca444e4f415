"""What a training will take, told from its first steps: time, and disk for its checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from spkssl.audio.forecast import Forecast, require_space

_FROM, _TO = 5, 25  # steps of this process that are timed; before them memory and caches fill
_LONG = 60.0  # seconds to go, below which nothing is said


class Outlook:
    """Speaks once, and refuses a disk that cannot hold the checkpoints before hours are spent."""

    def __init__(self, out: Path, total: int, keep: int, say: Callable[[str], None]) -> None:
        self.out, self.total, self.keep, self.say = out, total, keep, say
        self.seen = 0
        self.start = 0.0

    def step_done(self, done: int, method: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Of `total` steps `done` are behind."""
        self.seen += 1
        if self.seen == _FROM:
            self.start = time.perf_counter()
        if self.seen != _TO:
            return
        seconds = (time.perf_counter() - self.start) / (_TO - _FROM) * (self.total - done)
        found = Forecast(seconds, self._disk(method, optimizer))
        require_space(self.out, found.bytes, "free some, or keep fewer checkpoints (loop.keep)")
        if seconds >= _LONG:
            self.say(f"{self.out.name}: {found} to go")

    def _disk(self, method: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Of the checkpoints that are still to come; one more than are kept lies there while the oldest goes."""
        moments = (value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor))
        each = _bytes(method.state_dict().values()) + _bytes(moments)
        there = len(list((self.out / "ckpt").glob("step-*.pt")))
        return each * max(self.keep + 1 - there, 1)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
