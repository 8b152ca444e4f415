"""A small corpus on disk: recordings, their features, noises of three kinds, impulse responses."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from spkssl import rng
from spkssl.audio.fbank import Fbank, FbankConfig
from spkssl.io.ark import write_ark
from spkssl.io.tables import write_table

FBANK = FbankConfig(num_mel_bins=24)


def write_set(path: Path, names: list[str], samples: list[int], seed: int) -> dict[str, np.ndarray]:
    waves, mels, fbank = {}, {}, Fbank(FBANK)
    (path / "wav").mkdir(parents=True)
    for name, count in zip(names, samples, strict=True):
        wave = 0.1 * rng.numpy(seed, name).standard_normal(count) * (1.1 + np.sin(np.arange(count) / 1000))
        soundfile.write(path / "wav" / f"{name}.wav", wave.clip(-1, 1), 16000, subtype="PCM_16")
        waves[name] = soundfile.read(path / "wav" / f"{name}.wav", dtype="float32")[0]
        mels[name] = fbank(torch.from_numpy(waves[name])).numpy()
    write_ark(path / "feats.ark", path / "feats.scp", mels)
    write_table(path / "wav.scp", {name: path / "wav" / f"{name}.wav" for name in names})
    write_table(path / "utt2num_frames", {name: len(mels[name]) for name in names})
    write_table(path / "utt2spk", {name: name for name in names})
    return mels


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """train: 40 utterances u00.. of 0.5 to 4 s (classes u % 8 in `labels`), noise: 3 of each kind, rir: 4."""
    root = tmp_path_factory.mktemp("corpus")
    names = [f"u{i:02}" for i in range(40)]
    samples = [8000 + 1400 * i for i in range(40)]
    write_set(root / "train", names, samples, 1)
    write_table(root / "labels", {name: i % 8 for i, name in enumerate(names)})
    noises = [f"{kind}-{i}" for kind in ("music", "noise", "speech") for i in range(3)]
    write_set(root / "noise", noises, [20000 + 3000 * i for i in range(9)], 2)
    write_table(root / "noise" / "utt2kind", {name: name.split("-")[0] for name in noises})
    (root / "rir").mkdir()
    for i in range(4):
        response = 0.1 * rng.numpy(3, i).standard_normal(3000) * np.exp(-np.arange(3000) / 600)
        response[0] = 0.9
        soundfile.write(root / "rir" / f"r{i}.wav", response, 16000, subtype="PCM_16")
    write_table(root / "rir" / "wav.scp", {f"r{i}": root / "rir" / f"r{i}.wav" for i in range(4)})
    return root
