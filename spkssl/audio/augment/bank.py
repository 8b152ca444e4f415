"""The noises and impulse responses there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spkssl.audio import read
from spkssl.audio.augment import rir
from spkssl.audio.spectrum import SpectrumConfig
from spkssl.audio.store import BUDGET, Store
from spkssl.errors import complain, some


class NoiseBank:
    """Noise recordings and their kinds."""

    def __init__(self, store: Store, names: Sequence[str], kind_of: Mapping[str, str], where: object = "utt2kind") -> None:
        missing = [name for name in names if name not in kind_of]
        if missing:
            raise complain(where, f"no kind for {some(missing)}", "give each noise a kind: noise, music or speech")
        self.store = store
        kinds = np.array([kind_of[name] for name in names])
        self.kinds: dict[str, NDArray[np.int64]] = {str(kind): np.flatnonzero(kinds == kind) for kind in np.unique(kinds)}

    def crop(self, out: NDArray[np.float32], row: int, frames: int, place: float) -> None:
        """Fill `out` with `frames` frames of noise `row`; `place` (0 to 1) of where a crop can start; short ones repeat."""
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
