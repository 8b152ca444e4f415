"""Cases of audio: filter banks, crops out of archives, the synthesised corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spkssl import rng
from spkssl.bench.case import Case, Work, sized
from spkssl.contract import SAMPLE_RATE
from spkssl.io.ark import Reader, read_scp, write_ark

_SECONDS = 8  # of an utterance: VoxCeleb's average
_UTTERANCES = 200
_MATRICES, _FRAMES, _CROPS, _CROP = 400, 800, 20_000, 200


def _write_waves(folder: Path, small: bool) -> None:
    shape = (sized(_UTTERANCES, small, least=2), _SECONDS * SAMPLE_RATE)
    waves = 0.1 * rng.numpy(0, "bench", "waves").standard_normal(shape, np.float32)
    np.save(folder / "waves.npy", waves)


def _fbank(folder: Path, small: bool) -> Work:
    import torch

    from spkssl.audio.fbank import Fbank

    waves, fbank = torch.from_numpy(np.load(folder / "waves.npy")), Fbank()

    def call() -> None:
        with torch.inference_mode():
            for wave in waves:
                fbank(wave)

    return Work(call, len(waves) * _SECONDS, "seconds of audio")


def _torchaudio(folder: Path, small: bool) -> Work:
    import torch
    from torchaudio.compliance.kaldi import fbank

    waves = torch.from_numpy(np.load(folder / "waves.npy")) * 32768  # it wants the range of 16-bit samples

    def call() -> None:
        with torch.inference_mode():
            for wave in waves:
                fbank(wave[None], num_mel_bins=80, sample_frequency=SAMPLE_RATE, dither=0.0)

    return Work(call, len(waves) * _SECONDS, "seconds of audio")


def _write_float(folder: Path, small: bool) -> None:
    _write_archive(folder, small, "none")


def _write_compressed(folder: Path, small: bool) -> None:
    _write_archive(folder, small, "kaldi")


def _write_archive(folder: Path, small: bool, compress: str) -> None:
    stream, count = rng.numpy(0, "bench", "archive"), sized(_MATRICES, small)
    items = ((f"u{n:05d}", stream.standard_normal((_FRAMES, 80), np.float32)) for n in range(count))
    write_ark(folder / "feats.ark", folder / "feats.scp", items, compress)


def _crops(folder: Path, small: bool) -> list[tuple[str, int]]:
    """Where each crop is and with which frame it starts."""
    locations = list(read_scp(folder / "feats.scp").values())
    stream, count = rng.numpy(0, "bench", "crops"), sized(_CROPS, small)
    rows, starts = stream.integers(len(locations), size=count), stream.integers(_FRAMES - _CROP, size=count)
    return [(locations[row], int(start)) for row, start in zip(rows, starts, strict=True)]


def _ark(folder: Path, small: bool) -> Work:
    crops, reader = _crops(folder, small), Reader()

    def call() -> None:
        for location, start in crops:
            reader.rows(location, start, _CROP)

    return Work(call, len(crops), "crops")


def _kaldiio(folder: Path, small: bool) -> Work:
    import kaldiio

    crops = _crops(folder, small)

    def call() -> None:
        for location, start in crops:
            np.ascontiguousarray(kaldiio.load_mat(location)[start : start + _CROP])

    return Work(call, len(crops), "crops")


def _synth(folder: Path, small: bool) -> Work:
    from threadpoolctl import threadpool_limits

    from spkssl.audio.synth.plan import recordings
    from spkssl.audio.synth.recorder import record
    from spkssl.audio.synth.variation import STANDARD

    speakers = range(sized(20, small))
    sessions = [recordings("train", 1 + speaker, 5, 1)[-5:] for speaker in speakers]

    def speak() -> float:
        with threadpool_limits(1):  # as make_corpus does
            return sum(len(pcm) for session in sessions for pcm in record(0, STANDARD, session)) / SAMPLE_RATE

    seconds = speak()

    def call() -> None:
        speak()

    return Work(call, seconds, "seconds of audio", per_thread=True)


CASES = {
    "fbank": Case(
        "80 log-mels of 200 utterances of 8 s, one by one",
        _fbank,
        _write_waves,
        peers={"torchaudio.compliance.kaldi": _torchaudio},
    ),
    "ark_crops": Case(
        "20,000 crops of 200 frames out of float archives of 800-frame utterances",
        _ark,
        _write_float,
        peers={"kaldiio.load_mat": _kaldiio},
    ),
    "ark_crops_compressed": Case(
        "the same out of archives with Kaldi's one-byte compression",
        _ark,
        _write_compressed,
        peers={"kaldiio.load_mat": _kaldiio},
    ),
    "synth": Case("the synthesised corpus, speech in memory, on one core", _synth, threads=1),
}
