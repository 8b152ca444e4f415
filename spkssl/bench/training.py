"""Cases of networks: training through the real loop with data and augmentation, and extraction.

The features are noise: what a step costs does not depend on what is heard in it.
"""

from __future__ import annotations

import os
import shutil
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spkssl import rng
from spkssl.bench.case import TRAINING_ENV, Case, Facts, Skip, Target, Work, sized
from spkssl.contract import SAMPLE_RATE
from spkssl.io.ark import write_ark
from spkssl.io.tables import write_table

if TYPE_CHECKING:
    from spkssl.data.loader import Loader
    from spkssl.nn.ecapa import EcapaConfig
    from spkssl.training.loop import LoopConfig

_UTTERANCES, _FRAMES, _CLASSES = 512, 400, 150
_NOISES, _RIRS = 60, 100  # as in the synthesised corpus
_GPU_BATCH, _GPU_CLASSES, _GPU_STEPS = 96, 5994, 40  # VoxCeleb2's speakers
_GPU_WORKERS = 8  # processes, where there are cores for them


def mini_encoder() -> EcapaConfig:
    """The encoder of egs/mini."""
    from spkssl.nn.ecapa import EcapaConfig

    return EcapaConfig(
        channels=64, aggregation=128, embed_dim=96, se_channels=16, attention_channels=16, scale=4, stride=2
    )  # fmt: skip


def mini_method(name: str) -> tuple[Any, int]:
    """The method's configuration in egs/mini, and its batch size."""
    from spkssl.methods import aam, dino, simclr
    from spkssl.nn.heads import DinoHeadConfig
    from spkssl.nn.targets import TargetConfig

    if name == "simclr":
        return simclr.Config(frames=150), 128
    if name == "aam":
        return aam.Config(frames=150, scale=24, margin_ramp=(0.0, 0.3)), 128
    head, targets = DinoHeadConfig(hidden=256, bottleneck=64, out=256), TargetConfig(balance="sinkhorn")
    return dino.Config(
        global_frames=150, local_frames=100, local_count=2, head=head, targets=targets,
        teacher_temperature=(0.02, 0.02), ema=(0.9, 0.98), freeze_epochs=0.65,
    ), 64  # fmt: skip


def write_sets(folder: Path, small: bool, utterances: int = _UTTERANCES) -> None:
    """A training set, noises and impulse responses."""
    _write_features(folder / "train", sized(utterances, small, least=16), "train")
    _write_features(folder / "noise", sized(_NOISES, small, least=6), "noise")
    names = [f"noise{n:05d}" for n in range(sized(_NOISES, small, least=6))]
    kinds = ("noise", "music", "speech")
    write_table(folder / "noise" / "utt2kind", {name: kinds[n % 3] for n, name in enumerate(names)})
    responses = {f"rir{n:05d}": folder / "rir" / f"{n:05d}.wav" for n in range(sized(_RIRS, small, least=2))}
    write_table(folder / "rir" / "wav.scp", responses)
    stream, fall = rng.numpy(0, "bench", "rir"), np.exp(-np.arange(SAMPLE_RATE // 2) / 2000)
    for path in responses.values():
        taps = (8000 * fall * stream.standard_normal(len(fall))).clip(-32768, 32767).astype(np.int16)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
            file.writeframes(taps.tobytes())


def _write_features(folder: Path, count: int, name: str) -> None:
    stream = rng.numpy(0, "bench", name)
    keys = [f"{name}{n:05d}" for n in range(count)]
    items = ((key, 10 + 3 * stream.standard_normal((_FRAMES, 80), np.float32)) for key in keys)
    folder.mkdir(parents=True, exist_ok=True)
    write_ark(folder / "feats.ark", folder / "feats.scp", items)
    write_table(folder / "utt2num_frames", {key: _FRAMES for key in keys})


def _train(folder: Path, small: bool, name: str) -> Work:
    from spkssl.training.loop import LoopConfig
    from spkssl.training.optim import OptimConfig

    config, batch = mini_method(name)
    loop = LoopConfig(epochs=1 if small else 8, batch_size=8 if small else batch, optim=OptimConfig("adamw", lr=1e-4))
    return _training(folder, config, mini_encoder(), loop, "cpu", classes=_CLASSES, workers=0)


def _make(config: Any, encoder: EcapaConfig, classes: int) -> Any:
    from spkssl.contract import Facts as DataFacts
    from spkssl.methods import make_method
    from spkssl.nn.embedder import make_embedder
    from spkssl.nn.frontend import FrontendConfig

    rng.seed_torch(0, "init")
    facts = DataFacts(num_utts=_UTTERANCES, seed=0, num_classes=classes)
    return make_method(config, lambda other=None: make_embedder(other or encoder, FrontendConfig()), facts)


def _training(
    folder: Path,
    config: Any,
    encoder: EcapaConfig,
    loop: LoopConfig,
    device: str,
    *,
    classes: int,
    workers: int,
) -> Work:
    """A whole call of the loop per measurement, its one checkpoint included."""
    from spkssl.training import log
    from spkssl.training.health import HealthConfig
    from spkssl.training.loop import train

    views = _make(config, encoder, classes).views
    loader = _loader(folder, views, loop.batch_size, classes, workers)
    crops = sum(view.count for view in views)
    total, out = loader.steps_per_epoch * loop.epochs, folder / "run"
    # Noise has no speakers: a collapse is no illness here.
    loop = replace(loop, checkpoint_every=total, log_every=total, health=HealthConfig(action="off"))

    def call() -> Facts:
        shutil.rmtree(out, ignore_errors=True)
        train(
            _make(config, encoder, classes), loader, loop, seed=0, out=out, device=device, config_hash="bench",
            names=loader.utterances.names, say=_silent,
        )  # fmt: skip
        row = log.read(out / "metrics.jsonl")[-1]
        facts = {"steps": total, "batch_size": loop.batch_size, "crops_per_utterance": crops}
        return {**facts, "data_wait": row["data_wait"]}  # share of the time

    return Work(call, total * loop.batch_size * crops, "crops", per_thread=device == "cpu")


def _silent(text: str) -> None:
    """Training has nothing to tell here."""


def _loader(folder: Path, views: Any, batch: int, classes: int, workers: int) -> Loader:
    from spkssl.audio.augment.bank import open_noises, open_rirs
    from spkssl.audio.augment.config import AugmentConfig
    from spkssl.audio.fbank import FbankConfig
    from spkssl.data.dataset import Utterances
    from spkssl.data.loader import Loader

    utterances = Utterances.open(folder / "train")
    utterances.labels = np.arange(len(utterances)) % classes
    return Loader(
        utterances, views, AugmentConfig(), batch, noises=open_noises(folder / "noise", "feats"),
        rirs=open_rirs(folder / "rir"), fbank=FbankConfig(), workers=workers,
    )  # fmt: skip


def _of(name: str) -> Callable[[Path, bool], Work]:
    return lambda folder, small: _train(folder, small, name)


def _extract(folder: Path, small: bool) -> Work:
    from spkssl.data.embed import Eval, Utterance, batches, embed
    from spkssl.io.ark import read_scp
    from spkssl.nn.embedder import make_embedder
    from spkssl.nn.frontend import FrontendConfig

    rng.seed_torch(0, "init")
    model = Eval(make_embedder(mini_encoder(), FrontendConfig()), "cpu")
    locations = read_scp(folder / "train" / "feats.scp")
    work = batches([Utterance(key, place, _FRAMES) for key, place in locations.items()], 30_000)

    def call() -> Facts:
        return {"embeddings": sum(1 for _ in embed(work, model, "cpu"))}

    return Work(call, len(locations), "utterances")


def _write_gpu_sets(folder: Path, small: bool) -> None:
    """Enough for one epoch: worker processes start anew with each."""
    import torch

    if torch.cuda.is_available():
        write_sets(folder, small, _GPU_BATCH * _GPU_STEPS)


def _gpu(folder: Path, small: bool, amp: str) -> Work:
    import torch

    from spkssl.methods import aam
    from spkssl.nn.ecapa import EcapaConfig
    from spkssl.training.loop import LoopConfig
    from spkssl.training.optim import OptimConfig

    if not torch.cuda.is_available():
        raise Skip("there is no CUDA device here")
    loop = LoopConfig(epochs=1, batch_size=8 if small else _GPU_BATCH, amp=amp, optim=OptimConfig("adamw", lr=1e-4))
    workers = 0 if small else min(_GPU_WORKERS, (os.cpu_count() or 1) - 1)
    config, encoder = aam.Config(frames=300), EcapaConfig(channels=1024)
    work = _training(folder, config, encoder, loop, "cuda", classes=_GPU_CLASSES, workers=workers)

    def call() -> Facts:
        torch.cuda.reset_peak_memory_stats()
        facts = dict(work.call() or {})
        torch.cuda.synchronize()
        peak = round(torch.cuda.max_memory_allocated() / 2**20)
        return {**facts, "gpu": torch.cuda.get_device_name(), "peak_gpu_mb": peak, "workers": workers}

    return replace(work, call=call, unit="utterances")


def _fp32(folder: Path, small: bool) -> Work:
    return _gpu(folder, small, "none")


def _bf16(folder: Path, small: bool) -> Work:
    return _gpu(folder, small, "bf16")


_MINI = Target(rate=700)
_TRAIN = "training at the mini encoder (64 channels), data and augmentation included: "

CASES = {
    "train_simclr": Case(
        f"{_TRAIN}simclr, 2 crops of 150 frames", _of("simclr"), write_sets, target=_MINI, env=TRAINING_ENV
    ),
    "train_dino": Case(
        f"{_TRAIN}dino, 2 crops of 150 frames and 2 of 100", _of("dino"), write_sets, target=_MINI, env=TRAINING_ENV
    ),
    "train_aam": Case(f"{_TRAIN}aam, 1 crop of 150 frames", _of("aam"), write_sets, target=_MINI, env=TRAINING_ENV),
    "extract": Case(
        "embeddings of utterances of 400 frames with the mini encoder, from the archive",
        _extract,
        write_sets,
        env=TRAINING_ENV,
    ),
    "train_gpu_fp32": Case(
        "CUDA: training ECAPA-1024 with aam, batch 96 of 300 frames, fp32", _fp32, _write_gpu_sets, env=TRAINING_ENV
    ),
    "train_gpu_bf16": Case("CUDA: the same in bf16", _bf16, _write_gpu_sets, env=TRAINING_ENV),
}
