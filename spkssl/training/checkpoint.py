"""Checkpoints `ckpt/step-N.pt` and the one-line text file `ckpt/latest`, written so that a kill leaves a whole one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from spkssl.errors import InputError
from spkssl.io.atomic import open_atomic, write_text
from spkssl.nn.weights import read_weights


def save(folder: Path, step: int, state: dict[str, Any], keep: int) -> None:
    """Write the state of this step, point `latest` at it, and drop all but the last `keep` (0: none)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step}.pt"
    with open_atomic(path, "wb") as file:
        torch.save(state, file)
    write_text(folder / "latest", path.name + "\n")
    past = [old for old in _all(folder) if _step(old) <= step]
    # Later ones were written by a run that was killed before it could name them; this one will write them again.
    later = [old for old in _all(folder) if _step(old) > step]
    unfinished = folder.glob(".step-*.tmp")
    for old in (*(past[:-keep] if keep else ()), *later, *unfinished):
        old.unlink()


def load(folder: Path, config_hash: str, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The latest whole state made under this configuration, on the CPU; None to start afresh."""
    for path in _candidates(folder):
        try:
            state = read_weights(path, "")
        except InputError as error:
            say(f"warning: {error}; looking for the one before")
            continue
        if state["config_hash"] != config_hash:
            say(f"{path} was made with other settings or data: starting afresh")
            return None
        return state
    return None


def clear(folder: Path) -> None:
    """Remove the checkpoints of another configuration."""
    for old in [*_all(folder), folder / "latest"]:
        old.unlink(missing_ok=True)


def _candidates(folder: Path) -> list[Path]:
    """What `latest` names, then those before it; all that are there, newest first, where it names none of them."""
    paths, latest = _all(folder)[::-1], folder / "latest"
    named = folder / latest.read_text(encoding="utf-8").strip() if latest.exists() else None
    return paths[paths.index(named) :] if named in paths else paths


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"), key=_step)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))
