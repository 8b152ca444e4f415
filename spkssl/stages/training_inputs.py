"""What decides the result of a training stage: settings and files. Read without importing torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spkssl.errors import complain
from spkssl.stages.settings import Settings
from spkssl.stages.stage import made_by

_DECIDES = ("features", "frontend", "encoder")
_WHEN = ("rounds", "stop")  # of retrain: how many rounds there are, not what one does
_FREE = ("checkpoint_every", "keep", "log_every", "health")  # of the loop: how it is watched, not what it does


def training_slice(settings: Settings, part: str) -> dict[str, Any]:
    """The settings that decide the weights."""
    section = {key: value for key, value in settings.section(part).items() if key not in _WHEN}
    loop = section.get("loop") or {}
    if not isinstance(loop, Mapping):
        raise complain(settings.source, f"{part}.loop: expected a section, got {loop!r}")
    loop = {key: value for key, value in loop.items() if key not in _FREE}
    data = {key: value for key, value in settings.section("data").items() if key not in ("workers", "cache_gb")}
    return {
        "seed": settings.seed,
        "data": {"input": "feats", **data},  # said or left to the default is the same
        part: {**section, "loop": loop},
        **{name: settings.section(name) for name in _DECIDES},
    }


def training_inputs(settings: Settings, data: Path) -> list[Path]:
    """The tables of the training, noise and RIR sets, and what stage 2 says it made of them."""
    config = settings.section("data")
    sets = {name: data / config.get(name, name) for name in ("train", "noise", "rir")}
    tables = [sets["train"] / "wav.scp"]
    for name in ("noise", "rir"):  # a system without augmentation needs neither
        tables += [path for path in (sets[name] / "wav.scp",) if path.exists()]
    if config.get("input", "feats") == "feats":
        tables.append(sets["train"] / "feats.scp")
        tables += [path for name in ("train", "noise") for path in made_by(sets[name], "features")]
    return tables
