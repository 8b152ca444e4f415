"""Sets of recordings of which crops are read: log-mels by offset out of archives, or audio by seek.

Everything is counted in frames, also for audio, so both kinds of store cut the same piece. A set that fits the
budget is read once and kept; crops are then copies out of memory, with the same values as from disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spkssl.audio import read
from spkssl.audio.spectrum import LOG_FLOOR
from spkssl.contract import FRAME_LENGTH, FRAME_SHIFT, SAMPLE_RATE, samples_of
from spkssl.errors import complain
from spkssl.io.ark import Reader
from spkssl.io.datadir import DataDir

Mode = Literal["feats", "wave"]
Cache = Literal["auto", "ram", "none"]
BUDGET = 2 << 30  # bytes a set may take in memory under cache = auto: 18 hours of 80 mels, 9 hours of audio


class FrameStore:
    """Log-mels, `locations` in archives; a crop of T frames is (T, F)."""

    mode: Mode = "feats"
    silence = float(np.log(LOG_FLOOR))

    def __init__(
        self, locations: Sequence[str], num_frames: NDArray[np.int64], cache: Cache = "auto", budget: int = BUDGET
    ) -> None:
        self.locations, self.num_frames = list(locations), np.asarray(num_frames, np.int64)
        self._reader = Reader()
        shape = self._reader.shape(self.locations[0])
        if len(shape) != 2:
            raise complain(self.locations[0], f"expected a matrix of features, got shape {shape}")
        self.dim = int(shape[1])
        self._ends = np.cumsum(self.num_frames)
        self._kept: NDArray[np.float32] | None = None
        if _keep(cache, 4 * self.dim * int(self._ends[-1]), budget):
            kept = np.empty((int(self._ends[-1]), self.dim), np.float32)
            for row, end in enumerate(self._ends):
                kept[end - self.num_frames[row] : end] = self._read(row, 0, int(self.num_frames[row]))
            self._kept = kept

    def __len__(self) -> int:
        return len(self.locations)

    def empty(self, count: int, frames: int) -> NDArray[np.float32]:
        return np.empty((count, frames, self.dim), np.float32)

    def crop(self, out: NDArray[np.float32], row: int, start: int, repeat: bool = True) -> None:
        """Fill `out` (T, F) from frame `start`; behind the end the recording begins again, or there is silence."""
        _fill(out, start, int(self.num_frames[row]), repeat, self.silence, lambda a, n: self._piece(row, a, n))

    def _piece(self, row: int, start: int, count: int) -> NDArray[np.float32]:
        if self._kept is None:
            return self._read(row, start, count)
        begin = int(self._ends[row] - self.num_frames[row]) + start
        return self._kept[begin : begin + count]

    def _read(self, row: int, start: int, count: int) -> NDArray[np.float32]:
        piece = self._reader.rows(self.locations[row], start, count)
        if piece.shape[1:] != (self.dim,):
            raise complain(self.locations[row], f"features of size {piece.shape[1:]} (expected {self.dim})")
        return piece


class WaveStore:
    """Audio at 16 kHz in +-1; a crop of T frames is (samples_of(T),), from sample 160 * start."""

    mode: Mode = "wave"
    silence = 0.0

    def __init__(
        self,
        paths: Sequence[str],
        num_samples: NDArray[np.int64],
        begins: NDArray[np.int64] | None = None,
        cache: Cache = "none",
        budget: int = BUDGET,
    ) -> None:
        """`begins`: the sample at which each piece starts within its file (segments)."""
        self.paths, self.num_samples = list(paths), np.asarray(num_samples, np.int64)
        self._begins = np.zeros(len(self.paths), np.int64) if begins is None else np.asarray(begins, np.int64)
        self.num_frames = np.maximum(1 + (self.num_samples - FRAME_LENGTH) // FRAME_SHIFT, 1)
        self._ends = np.cumsum(self.num_samples)
        self._kept: NDArray[np.float32] | None = None
        if _keep(cache, 4 * int(self._ends[-1]), budget):
            kept = np.empty(int(self._ends[-1]), np.float32)
            for row, end in enumerate(self._ends):
                kept[end - self.num_samples[row] : end] = self._piece(row, 0, int(self.num_samples[row]))
            self._kept = kept

    def __len__(self) -> int:
        return len(self.paths)

    def empty(self, count: int, frames: int) -> NDArray[np.float32]:
        return np.empty((count, samples_of(frames)), np.float32)

    def crop(self, out: NDArray[np.float32], row: int, start: int, repeat: bool = True) -> None:
        """Fill `out` from frame `start`; behind the end the recording begins again, or there is silence."""
        size = int(self.num_samples[row])
        _fill(out, start * FRAME_SHIFT, size, repeat, self.silence, lambda a, n: self._piece(row, a, n))

    def _piece(self, row: int, start: int, count: int) -> NDArray[np.float32]:
        if self._kept is None:
            return read.read(self.paths[row], int(self._begins[row]) + start, count)
        begin = int(self._ends[row] - self.num_samples[row]) + start
        return self._kept[begin : begin + count]


Store = FrameStore | WaveStore


def open_store(data: DataDir, mode: Mode, cache: Cache = "auto", budget: int = BUDGET) -> Store:
    """The utterances of a data directory, in the order of `data.utts`."""
    if mode == "feats":
        data.require("feats.scp", data.feats)
        data.require("utt2num_frames", data.num_frames)
        num_frames = np.array([data.num_frames[utt] for utt in data.utts])
        return FrameStore([data.feats[utt] for utt in data.utts], num_frames, cache, budget)
    excerpts = [data.audio(utt) for utt in data.utts]
    begins = np.array([round(excerpt.start * SAMPLE_RATE) for excerpt in excerpts])
    paths = [excerpt.path for excerpt in excerpts]
    return WaveStore(paths, _num_samples(data, paths), begins, cache, budget)


def _num_samples(data: DataDir, paths: Sequence[str]) -> NDArray[np.int64]:
    """What is surely there: tables of frames and seconds are rounded, and headers are read only without tables."""
    if data.has("utt2num_frames"):
        data.require("utt2num_frames", data.num_frames)
        return np.array([samples_of(data.num_frames[utt]) for utt in data.utts])
    if data.has("utt2dur") or data.segments is not None:
        data.require("utt2dur", data.durations)
        shift = FRAME_SHIFT / SAMPLE_RATE
        return np.array([max(1, int((data.durations[utt] - shift) * SAMPLE_RATE)) for utt in data.utts])
    return np.array([read.info(path).num_samples for path in paths])


def _keep(cache: Cache, size: int, budget: int) -> bool:
    return cache == "ram" or (cache == "auto" and size <= budget)


def _fill(
    out: NDArray, start: int, size: int, repeat: bool, silence: float, piece: Callable[[int, int], NDArray]
) -> None:
    """Copy [start, start + len(out)) of something `size` long, read by `piece(start, count)`."""
    wanted = len(out)
    if start + wanted <= size:
        out[:] = piece(start, wanted)
        return
    if not repeat:
        there = max(0, size - start)
        if there:
            out[:there] = piece(start, there)
        out[there:] = silence
        return
    whole = piece(0, size) if wanted > size // 2 else None
    done, at = 0, start % size
    while done < wanted:
        count = min(wanted - done, size - at)
        out[done : done + count] = piece(at, count) if whole is None else whole[at : at + count]
        done, at = done + count, 0
