"""Checkpoints `ckpt/step-N.pt` and the one-line text file `ckpt/latest`, written so that a kill leaves a whole one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from spkssl.io.atomic import open_atomic, write_text


def save(folder: Path, step: int, state: dict[str, Any], keep: int) -> None:
    """Write the state of this step, point `latest` at it, and drop all but the last `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step}.pt"
    with open_atomic(path, "wb") as file:
        torch.save(state, file)
    write_text(folder / "latest", path.name + "\n")
    for old in sorted(folder.glob("step-*.pt"), key=_step)[:-keep]:
        old.unlink()


def load(folder: Path, config_hash: str, device: str) -> dict[str, Any] | None:
    """The latest state made under this configuration; None to start afresh (what another one left is removed)."""
    latest = folder / "latest"
    path = folder / latest.read_text(encoding="utf-8").strip() if latest.exists() else None
    if path is None or not path.exists():
        return None
    state = torch.load(path, map_location=device, weights_only=True)
    return state if state["config_hash"] == config_hash else None


def clear(folder: Path) -> None:
    """Remove the checkpoints of another configuration."""
    for old in [*folder.glob("step-*.pt"), folder / "latest"]:
        old.unlink(missing_ok=True)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))
