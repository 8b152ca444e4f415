"""From a data directory's recordings to feature matrices, one utterance at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spkssl import rng
from spkssl.audio.fbank import Fbank, FbankConfig
from spkssl.audio.read import read
from spkssl.audio.spectrum import LogEnergy
from spkssl.audio.vad import VadConfig, voiced
from spkssl.errors import complain
from spkssl.io.tables import read_table

_OVERSHOOT = 0.5  # seconds a segment may end behind its recording (Kaldi extract-segments, --max-overshoot)


@dataclass(frozen=True)
class FeaturesConfig:
    """The section `features` of a system's YAML."""

    fbank: FbankConfig = field(default_factory=FbankConfig)
    compress: Literal["none", "kaldi"] = "none"  # kaldi: one byte per value, good to about 1 % of a column's range
    vad: bool = False  # also decide which frames are speech
    vad_options: VadConfig = field(default_factory=VadConfig)
    resample: bool = False  # accept recordings of other sample rates
    channel: int = 0  # of recordings with several, counted from 0


class Source(NamedTuple):
    """Where an utterance is: a recording, or the seconds from start to stop of one."""

    utt: str
    path: str
    start: float = 0.0
    stop: float | None = None


class Features(NamedTuple):
    mels: NDArray[np.float32]  # (T, F)
    voiced: NDArray[np.bool_] | None  # (T,)
    seconds: float


def read_sources(data: Path) -> list[Source]:
    """The utterances of `wav.scp`, or of `segments` where there is one, sorted."""
    wav = read_table(data / "wav.scp")
    for recording, location in wav.items():
        if location.endswith("|"):
            what = f"{recording} is a command (got {location!r}, expected a path)"
            do = "name the file itself: m4a, mp3 and the like are decoded through ffmpeg"
            raise complain(data / "wav.scp", what, do)
    if not wav:
        raise complain(data / "wav.scp", "lists no recordings")
    if not (data / "segments").exists():
        return [Source(utt, wav[utt]) for utt in sorted(wav)]
    sources = []
    for utt, line in sorted(read_table(data / "segments").items()):
        where, fields = f"{data / 'segments'}: {utt}", line.split()
        try:
            recording, start, stop = fields[0], float(fields[1]), float(fields[2])
        except (IndexError, ValueError):
            raise complain(where, f"expected `recording start end`, got {line!r}") from None
        if recording not in wav:
            raise complain(where, f"recording {recording} is not in wav.scp")
        if len(fields) > 3 or not 0 <= start < stop < float("inf"):
            raise complain(where, f"expected 0 <= start < end in seconds, got {line!r}")
        sources.append(Source(utt, wav[recording], start, stop))
    return sources


class Extractor:
    """Reads an utterance and computes its features; what cannot be read or is too short is an InputError."""

    def __init__(self, config: FeaturesConfig, seed: int = 0) -> None:
        self.config = config
        self.seed = seed
        self.fbank = Fbank(config.fbank)
        self.energy = LogEnergy(config.fbank) if config.vad else None

    def __call__(self, source: Source) -> Features:
        wave = torch.from_numpy(self._read(source))
        if self.fbank.num_frames(len(wave)) == 0:
            raise complain(source.path, f"too short for one frame (got {len(wave)} samples)", "remove it from the set")
        generator = rng.torch_generator(self.seed, "dither", source.utt) if self.config.fbank.dither else None
        with torch.inference_mode():
            mels = self.fbank(wave, generator).numpy()
            if not np.isfinite(mels).all():
                raise complain(source.path, f"its samples are too large (up to {wave.abs().max():.3g}, expected 1)")
            speech = None
            if self.energy is not None:
                speech = voiced(self.energy(wave, generator), self.config.vad_options).numpy()
        return Features(mels, speech, len(wave) / self.config.fbank.sample_frequency)

    def _read(self, source: Source) -> NDArray[np.float32]:
        rate, count, slack = self.config.fbank.sample_frequency, None, 0
        start = round(source.start * rate)
        if source.stop is not None:
            count, slack = max(1, round(source.stop * rate) - start), round(_OVERSHOOT * rate)
        options = {"sample_rate": rate, "channel": self.config.channel, "resample": self.config.resample}
        return read(source.path, start, count, slack=min(slack, (count or 1) - 1), **options)
