"""Where crops lie. Start frames come from rng.numpy(seed, "crop", epoch, utterance, group); crop c is its c-th draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spkssl import rng
from spkssl.contract import FRAME_LENGTH, FRAME_SHIFT, ViewSpec
from spkssl.errors import complain

Short = Literal["repeat", "silence"]  # what follows the end of an utterance that is shorter than its crop
# Frames between disjoint crops, so that they share no sample either: a frame reaches this far into the next ones.
_GAP = -(-(FRAME_LENGTH - FRAME_SHIFT) // FRAME_SHIFT)


@dataclass(frozen=True)
class Group:
    """Kinds of views whose crop number c starts at one place."""

    name: str
    frames: int  # the longest kind's: every kind fits at the place drawn for it
    crops: int
    disjoint: bool

    def draw(self, generator: np.random.Generator) -> NDArray[np.float64]:
        """(2 crops,) uniforms: places, then what puts disjoint crops into random order."""
        return np.concatenate([generator.random(self.crops), generator.random(self.crops)])

    def starts(self, lengths: NDArray[np.int64], uniforms: NDArray[np.float64], short: Short) -> NDArray[np.int64]:
        """(B,) frames, (B, 2 crops) -> (B, crops) start frames.

        An utterance shorter than a crop starts anywhere (repeat) or at 0 (silence). Where disjoint crops do not
        fit, they are spread evenly from the beginning to the end.
        """
        place, order = uniforms[:, : self.crops], uniforms[:, self.crops :]
        room = lengths[:, None] - self.frames + 1  # (B, 1) places a crop can start at
        too_short = np.where(short == "repeat", (place * lengths[:, None]).astype(np.int64), 0)
        free = np.where(room > 0, (place * room).astype(np.int64), too_short)
        if not self.disjoint or self.crops == 1:
            return free
        pitch, number = self.frames + _GAP, np.arange(self.crops)
        slack = lengths[:, None] - (self.crops * pitch - _GAP)  # (B, 1)
        apart = np.sort((place * (slack + 1)).astype(np.int64), 1) + number * pitch
        even = np.rint(number * (room - 1) / (self.crops - 1)).astype(np.int64)
        ordered = np.where(slack >= 0, apart, np.where(room > 0, even, free))
        return np.take_along_axis(ordered, np.argsort(order, 1), 1)


def groups_of(views: Sequence[ViewSpec]) -> dict[str, Group]:
    """Group of each kind of view, by the kind's name."""
    _check(views)
    found: dict[str, Group] = {}
    for view in views:
        members = [v for v in views if (v.group or v.name) == (view.group or view.name)]
        crops = 1 + max(v.crop_of(i) for v in members for i in range(v.count))
        disjoint = any(v.disjoint for v in members)
        found[view.name] = Group(view.group or view.name, max(v.frames for v in members), crops, disjoint)
    return found


def crop_starts(
    group: Group,
    lengths: NDArray[np.int64],
    rows: NDArray[np.int64],
    again: NDArray[np.int64],
    seed: int,
    epoch: int,
    short: Short,
) -> NDArray[np.int64]:
    """(B, crops) start frames of these utterances; `again` is how often each was drawn before in this epoch."""
    uniforms = [group.draw(rng.numpy(seed, "crop", *key, group.name)) for key in keys(epoch, rows, again)]
    return group.starts(lengths, np.stack(uniforms), short)


def keys(epoch: int, rows: NDArray[np.int64], again: NDArray[np.int64]) -> list[tuple[int, ...]]:
    """What names an utterance's random streams: (epoch, row), and the repetition where there is one."""
    return [(epoch, row) if n == 0 else (epoch, row, n) for row, n in zip(rows.tolist(), again.tolist())]


def _check(views: Sequence[ViewSpec]) -> None:
    names = [view.name for view in views]
    if len(set(names)) < len(names) or not names:
        raise complain("views", f"names must differ and there must be one (got {', '.join(names) or 'none'})")
    for view in views:
        for what, numbers in (("crops", view.crops), ("profiles", view.profiles)):
            if numbers and (len(numbers) != view.count or min(numbers) < 0):
                raise complain(f"view {view.name}", f"{what} must be {view.count} numbers from 0 (got {numbers})")
        if view.count < 1 or view.frames < 1:
            raise complain(f"view {view.name}", f"count and frames must be positive (got {view.count}, {view.frames})")
