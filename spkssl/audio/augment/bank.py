"""The noises and impulse responses there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spkssl.audio import read
from spkssl.audio.augment import rir
from spkssl.audio.spectrum import SpectrumConfig
from spkssl.audio.store import BUDGET, Cache, Mode, Store, open_store
from spkssl.errors import complain, some
from spkssl.io.datadir import DataDir
from spkssl.io.tables import read_table


class NoiseBank:
    """Noise recordings and their kinds."""

    def __init__(
        self, store: Store, names: Sequence[str], kind_of: Mapping[str, str], where: object = "utt2kind"
    ) -> None:
        missing = [name for name in names if name not in kind_of]
        if missing:
            raise complain(where, f"no kind for {some(missing)}", "give each noise a kind: noise, music or speech")
        self.store = store
        kinds = np.array([kind_of[name] for name in names])
        self.kinds = {str(kind): np.flatnonzero(kinds == kind) for kind in np.unique(kinds)}

    def crop(self, out: NDArray[np.float32], row: int, frames: int, place: float) -> None:
        """Fill `out` with `frames` frames of noise `row`, begun at `place` (0 to 1) of where a crop can start.

        A recording that is too short is repeated.
        """
        length = int(self.store.num_frames[row])
        choices = length - frames + 1 if length >= frames else length
        self.store.crop(out, row, int(place * choices))


class RirBank:
    """Impulse responses by path. Each is read when first drawn and kept while the budget lasts."""

    def __init__(self, paths: Sequence[str], budget: int = BUDGET) -> None:
        self.paths, self._budget = list(paths), budget
        self._waves: dict[tuple[int, str, bool], NDArray[np.float32]] = {}
        self._decays: dict[tuple[int, str, bool, SpectrumConfig], rir.Decay] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __reduce__(self) -> tuple:
        return RirBank, (self.paths, self._budget)

    def wave(self, row: int, scale: str, from_peak: bool) -> NDArray[np.float32]:
        """(samples,), scaled."""
        key = (row, scale, from_peak)
        if key in self._waves:
            return self._waves[key]
        wave = rir.scaled(read.read(self.paths[row]), scale, from_peak, self.paths[row])
        if wave.nbytes <= self._budget:
            self._budget -= wave.nbytes
            self._waves[key] = wave
        return wave

    def decay(self, row: int, scale: str, from_peak: bool, config: SpectrumConfig) -> rir.Decay:
        """What the response does to log-mels; about a kilobyte each, so all are kept."""
        key = (row, scale, from_peak, config)
        if key not in self._decays:
            wave = rir.scaled(read.read(self.paths[row]), scale, from_peak, self.paths[row])
            self._decays[key] = rir.decay(wave, config)
        return self._decays[key]


def open_noises(path: str | Path, mode: Mode, cache: Cache = "auto", budget: int = BUDGET) -> NoiseBank:
    """A noise set: a data directory with `utt2kind` and, by mode, features or audio."""
    data = DataDir(Path(path))
    kinds = read_table(data.path / "utt2kind")
    return NoiseBank(open_store(data, mode, cache, budget), data.utts, kinds, data.path / "utt2kind")


def open_rirs(path: str | Path, budget: int = BUDGET) -> RirBank:
    """A set of impulse responses: a data directory with `wav.scp`."""
    wav = DataDir(Path(path)).wav
    return RirBank([wav[name] for name in sorted(wav)], budget)
