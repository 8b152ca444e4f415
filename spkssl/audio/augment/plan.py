"""What is drawn for an augmented view. A plan says the same in both input modes and holds no audio.

Every view of an utterance takes one row of uniform numbers in which each decision has its own place; whole batches
of rows become plans at once. The rows come from rng.numpy(seed, "aug", epoch, utterance, kind of view), row p being
profile p, so a plan depends neither on workers, ranks and order nor on how many profiles are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from spkssl.audio.augment.config import AugmentConfig
from spkssl.audio.augment.melaxis import KNOTS
from spkssl.errors import complain

_GOLDEN = 0.6180339887498949
CLASSES = ("none", "reverb", "noise", "both")


@dataclass(frozen=True)
class Plan:
    """R views. -1 in `rir` or `noise` means none; J is the most files any mix of the configuration adds."""

    rir: NDArray[np.int64]  # (R,)
    rir_gain: NDArray[np.float32]  # (R,) amplitude factor
    noise: NDArray[np.int64]  # (R, J) file
    snr: NDArray[np.float32]  # (R, J) dB
    start: NDArray[np.float64]  # (R, J) where in the file, 0 to 1 of the places a crop can start at
    noise_eq: NDArray[np.float32]  # (R, KNOTS) coefficients of a curve in dB
    eq: NDArray[np.float32]  # (R, KNOTS)
    time_mask: NDArray[np.float64]  # (R, M, 2) width in frames and start, 0 to 1
    mel_mask: NDArray[np.float64]  # (R, M, 2)

    def __len__(self) -> int:
        return len(self.rir)

    def rows(self, index: NDArray[np.int64], crop: NDArray[np.int64] | None = None) -> Plan:
        """The plans of these rows; crop c > 0 of a shared profile takes another place in the same noise files.

        The places are spread by the golden ratio, which keeps them uniform and far from each other.
        """
        taken = {field.name: getattr(self, field.name)[index] for field in fields(self)}
        if crop is not None:
            taken["start"] = (taken["start"] + _GOLDEN * crop[:, None]) % 1.0
        return Plan(**taken)


class Planner:
    """Turns uniform numbers into plans for one configuration and the files there are."""

    def __init__(self, config: AugmentConfig, kinds: Mapping[str, NDArray[np.int64]], num_rirs: int) -> None:
        """`kinds`: kind -> numbers of the noise files of this kind."""
        self.config = config
        _check(config, kinds, num_rirs)
        self._num_rirs = num_rirs
        weights = np.array([config.none, config.reverb, config.noise, config.both])
        self._classes = np.cumsum(weights / weights.sum())
        self._table = _MixTable(config, kinds) if config.needs_noise else None
        self.files = self._table.files if self._table else 0
        self._sources = self._table.sources if self._table else 0
        self._places = self._layout()

    def _layout(self) -> dict[str, slice]:
        config = self.config
        sizes = {
            "class": 1, "rir": 1, "gain": 1, "mix": 1, "sources": self._sources, "pick": self.files,
            "snr": self.files, "start": self.files, "noise_eq": KNOTS if config.noise_eq_sd else 0,
            "eq": KNOTS + 1 if config.eq else 0, "mask": 1, "time": 2 * config.time_masks, "mel": 2 * config.mel_masks,
        }  # fmt: skip
        ends = np.cumsum(list(sizes.values()))
        self.slots = int(ends[-1])
        return {name: slice(int(end - size), int(end)) for (name, size), end in zip(sizes.items(), ends)}

    def uniforms(self, rng: np.random.Generator, profiles: int = 1) -> NDArray[np.float64]:
        """(profiles, slots); the first rows do not depend on how many follow."""
        return rng.random((profiles, self.slots))

    def plan(self, uniforms: NDArray[np.float64]) -> Plan:
        """(R, slots) -> the plans of R views."""
        config, rows = self.config, len(uniforms)
        u = {name: uniforms[:, place] for name, place in self._places.items()}
        drawn = np.minimum(np.searchsorted(self._classes, u["class"][:, 0], side="right"), 3)  # (R,) in CLASSES
        reverb, noise = (drawn == 1) | (drawn == 3), drawn >= 2
        rir = np.where(reverb, (u["rir"][:, 0] * self._num_rirs).astype(np.int64), -1)
        gain = np.ones(rows, np.float32)
        if config.rir_scale == "gain":
            low, high = config.rir_gain
            gain = (10 ** (0.1 * (low + (high - low) * u["gain"][:, 0]))).astype(np.float32)
        if self._table is None:
            files, snr = np.empty((rows, 0), np.int64), np.empty((rows, 0), np.float32)
        else:
            files, snr = self._table.draw(u["mix"][:, 0], u["sources"], u["pick"], u["snr"], config.snr_of)
            files = np.where(noise[:, None], files, -1)
        masked = u["mask"] < config.mask  # (R, 1)
        return Plan(
            rir=rir,
            rir_gain=gain,
            noise=files,
            snr=snr,
            start=u["start"].copy(),
            noise_eq=_curves(u["noise_eq"], config.noise_eq_sd, None),
            eq=_curves(u["eq"], config.eq_sd, config.eq),
            time_mask=_masks(u["time"], config.time_width, masked),
            mel_mask=_masks(u["mel"], config.mel_width, masked),
        )


def draw_plan(
    config: AugmentConfig, rng: np.random.Generator, kinds: Mapping[str, NDArray[np.int64]], num_rirs: int
) -> Plan:
    """The plan of one view, R = 1."""
    planner = Planner(config, kinds, num_rirs)
    return planner.plan(planner.uniforms(rng))


class _MixTable:
    """The mixes as arrays: per mix and file place its kind, SNR range, source and rank within the source."""

    def __init__(self, config: AugmentConfig, kinds: Mapping[str, NDArray[np.int64]]) -> None:
        mixes = config.mixes
        self.files = max(sum(source.files[1] for source in mix.sources) for mix in mixes)
        self.sources = max(len(mix.sources) for mix in mixes)
        weights = [m.weight * (len(kinds[m.sources[0].kind]) if config.mix_by_files else 1) for m in mixes]
        self._mixes = np.cumsum(np.array(weights) / sum(weights))
        self._least = np.zeros((len(mixes), self.sources), np.int64)
        self._span = np.zeros((len(mixes), self.sources), np.int64)
        shape = (len(mixes), self.files)
        self._source, self._rank = np.zeros(shape, np.int64), np.full(shape, 1 << 30)
        self._first, self._count = np.zeros(shape, np.int64), np.ones(shape, np.int64)
        self._low, self._high = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        names = sorted({source.kind for mix in mixes for source in mix.sources})
        self._order = np.concatenate([kinds[name] for name in names])
        begins = dict(zip(names, np.cumsum([0, *(len(kinds[name]) for name in names)]), strict=False))
        for m, mix in enumerate(mixes):
            place = 0
            for s, source in enumerate(mix.sources):
                least, most = source.files
                self._least[m, s], self._span[m, s] = least, most - least + 1
                here = slice(place, place + most)
                self._source[m, here], self._rank[m, here] = s, np.arange(most)
                self._first[m, here], self._count[m, here] = begins[source.kind], len(kinds[source.kind])
                self._low[m, here], self._high[m, here] = source.snr
                place += most

    def draw(
        self, mix: NDArray, sources: NDArray, pick: NDArray, snr: NDArray, snr_of: str
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Uniforms (R,), (R, sources), (R, J), (R, J) -> files (R, J) and SNRs in dB (R, J)."""
        m = np.minimum(np.searchsorted(self._mixes, mix, side="right"), len(self._mixes) - 1)  # (R,)
        wanted = self._least[m] + (sources * self._span[m]).astype(np.int64)  # (R, sources)
        present = self._rank[m] < np.take_along_axis(wanted, self._source[m], 1)  # (R, J)
        file = self._order[self._first[m] + (pick * self._count[m]).astype(np.int64)]
        decibels = self._low[m] + (self._high[m] - self._low[m]) * snr
        if snr_of == "sum":
            decibels = np.repeat(decibels[:, :1], self.files, 1)
        return np.where(present, file, -1), decibels.astype(np.float32)


def _curves(u: NDArray, sd: float, probability: float | None) -> NDArray[np.float32]:
    """Uniforms (R, KNOTS [+ 1 that decides]) -> coefficients, zeros where there is no curve."""
    if u.shape[1] == 0:
        return np.zeros((len(u), KNOTS), np.float32)
    normal = sd * ndtri(u[:, -KNOTS:].clip(1e-12, 1 - 1e-12))
    return np.where(u[:, :1] < probability if probability is not None else True, normal, 0.0).astype(np.float32)


def _masks(u: NDArray, width: tuple[int, int], masked: NDArray) -> NDArray[np.float64]:
    """Uniforms (R, 2 M) -> (R, M, 2) width and start; width 0 is no mask."""
    pairs = u.reshape(len(u), -1, 2).copy()
    pairs[..., 0] = np.where(masked, np.floor(width[0] + (width[1] - width[0] + 1) * pairs[..., 0]), 0)
    return pairs


def _check(config: AugmentConfig, kinds: Mapping[str, NDArray], num_rirs: int) -> None:
    where = f"augment {config.name}"
    if config.needs_rirs and num_rirs == 0:
        do = "give data/rir, or set reverb and both to 0"
        raise complain(where, "asks for reverberation, but there are no RIRs", do)
    if config.needs_noise:
        wanted = {source.kind for mix in config.mixes for source in mix.sources}
        missing = sorted(kind for kind in wanted if len(kinds.get(kind, ())) == 0)
        if missing:
            have = ", ".join(sorted(kind for kind in kinds if len(kinds[kind]))) or "none"
            do = "name these kinds in utt2kind or change mixes"
            raise complain(where, f"asks for noises of kind {', '.join(missing)} (there are: {have})", do)
