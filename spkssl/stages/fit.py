"""What the two training stages share: from settings, data and perhaps labels to `encoder.pt`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from spkssl import dist, rng
from spkssl.audio.augment.bank import open_noises, open_rirs
from spkssl.config import to_dict
from spkssl.contract import Facts, Method
from spkssl.data.dataset import Utterances
from spkssl.data.loader import Loader
from spkssl.io import markers
from spkssl.io.atomic import open_atomic
from spkssl.methods import make_method
from spkssl.nn.embedder import Embedder, make_embedder, save_embedder, start_from
from spkssl.stages.run_folder import device_of
from spkssl.stages.settings import write_resolved
from spkssl.stages.stage import marker, record_provenance, say
from spkssl.stages.system import PretrainConfig, RetrainConfig, System
from spkssl.training.loop import train


def fit(
    system: System,
    part: PretrainConfig | RetrainConfig,
    exp: Path,
    data: Path,
    at: str,
    ngpu: int,
    *,
    labels: Path | None = None,
    centroids: Path | None = None,
    start: Path | None = None,
    number: int = 0,
) -> dict[str, Any]:
    """Train `part.method` into `exp/<at>`, in round `number` of retraining if that is not 0; facts for the marker."""
    device = device_of(ngpu)
    dist.start(device.split(":")[0])
    try:
        return _fit(system, part, exp, data, at, device, labels, centroids, start, number)
    finally:
        dist.stop()


def _fit(
    system: System,
    part: PretrainConfig | RetrainConfig,
    exp: Path,
    data: Path,
    at: str,
    device: str,
    labels: Path | None,
    centroids: Path | None,
    start: Path | None,
    number: int,
) -> dict[str, Any]:
    budget = int(system.data.cache_gb * 2**30)
    utterances = Utterances.open(data / system.data.train, system.data.input, labels, budget=budget)
    facts = _facts(system, utterances, centroids, number)
    # Rounds differ by their place in the run: the same seed would repeat the order and the crops of the round before.
    seed = rng.derive(system.seed, at)
    method = _make(system, part, facts, start)
    loader = _loader(system, part, method, utterances, data, seed, budget)
    if dist.rank() == 0:
        write_resolved(exp, {**to_dict(system)})
        record_provenance(exp, [path for path in (labels, centroids, start) if path is not None])
        _describe(system, part, method, utterances, loader, at)
    train(
        method,
        loader,
        part.loop,
        seed=seed,
        out=exp / at,
        device=device,
        config_hash=_config_hash(system, part, exp, data, labels, centroids, start),
        names=utterances.names,
        say=say,
    )
    if dist.rank() == 0:
        _save_table(exp / at / "utterances.npz", utterances.names, method.per_utterance())
        save_embedder(exp / at / "encoder.pt", method.embedder())
    dist.barrier()
    return {"utts": len(utterances), "classes": facts.num_classes, "steps": loader.steps_per_epoch * part.loop.epochs}


def _facts(system: System, utterances: Utterances, centroids: Path | None, number: int) -> Facts:
    return Facts(
        num_utts=len(utterances),
        seed=system.seed,
        num_classes=utterances.num_classes,
        labels=utterances.labels,
        centroids=np.load(centroids, allow_pickle=False) if centroids is not None else None,
        round=number,
    )


def _make(system: System, part: PretrainConfig | RetrainConfig, facts: Facts, start: Path | None) -> Method:
    """The method with its first weights: those of `start`, or fresh ones drawn from the seed."""

    def make_encoder(encoder: Any | None = None) -> Embedder:
        fresh = make_embedder(encoder or system.encoder, system.frontend_config)
        if start is not None and encoder is None:
            start_from(fresh, start)
        return fresh

    rng.seed_torch(system.seed, "init")
    return make_method(part.method, make_encoder, facts)


def _loader(
    system: System,
    part: PretrainConfig | RetrainConfig,
    method: Method,
    utterances: Utterances,
    data: Path,
    seed: int,
    budget: int,
) -> Loader:
    config = system.data
    augment = {**{view.name: part.augment for view in method.views if view.augment}, **part.augment_views}
    noise, rirs = any(a.needs_noise for a in augment.values()), any(a.needs_rirs for a in augment.values())
    return Loader(
        utterances,
        method.views,
        augment,
        part.loop.batch_size,
        rank=dist.rank(),
        world=dist.world_size(),
        accumulate=part.loop.accumulate,
        seed=seed,
        noises=open_noises(data / config.noise, config.input, budget=budget) if noise else None,
        rirs=open_rirs(data / config.rir, budget=budget) if rirs else None,
        fbank=system.features.fbank,
        sampler=part.sampler,
        workers=config.workers,
    )


def _save_table(path: Path, names: Sequence[str], columns: Mapping[str, Tensor]) -> None:
    """What the method knows of each utterance: arrays (N,) under their names, and the utterances' in `utt`."""
    if not columns:
        path.unlink(missing_ok=True)  # of a method trained here before
        return
    utt = np.array([name.encode() for name in names])  # bytes: a quarter of numpy's text, and no pickle either
    with open_atomic(path, "wb") as file:
        np.savez_compressed(file, utt=utt, **{name: values.cpu().numpy() for name, values in columns.items()})


def _config_hash(
    system: System, part: PretrainConfig | RetrainConfig, exp: Path, data: Path, *files: Path | None
) -> str:
    """What a checkpoint must agree with to be resumed: all that decides the weights, not how often they are saved."""
    loop = {k: v for k, v in to_dict(part.loop).items() if k not in ("checkpoint_every", "keep", "log_every", "health")}
    tree = {
        **{name: to_dict(getattr(system, name)) for name in ("seed", "features", "frontend", "encoder")},
        "input": system.data.input,
        "part": {**{k: v for k, v in to_dict(part).items() if k not in ("rounds", "stop")}, "loop": loop},
    }
    sets = [data / name for name in (system.data.train, system.data.noise, system.data.rir)]
    inputs = [path for folder in sets for path in (folder / "wav.scp", marker(folder, "features"))]
    inputs += [path for path in files if path is not None]
    return markers.recipe(json.loads(json.dumps(tree)), inputs).hash(marker(exp, part.method.name))


def _describe(
    system: System, part: PretrainConfig | RetrainConfig, method: Any, utterances: Utterances, loader: Loader, at: str
) -> None:
    encoder = sum(p.numel() for p in method.embedder().parameters())
    whole = sum(p.numel() for p in method.parameters())
    classes = f", {utterances.num_classes} classes" if utterances.labels is not None else ""
    say(
        f"{at}: {part.method.name} on {len(utterances)} utterances{classes}; encoder {encoder:,} parameters of "
        f"{whole:,}; {part.loop.epochs} epochs of {loader.steps_per_epoch} steps, batch {part.loop.batch_size}"
        + (f" over {dist.world_size()} processes" if dist.world_size() > 1 else "")
    )
