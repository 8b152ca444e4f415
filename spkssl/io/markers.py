"""Done markers: what a finished stage was made from, so that the next call can tell fresh from stale.

A marker holds a hash of the settings and of every input. An input that another stage made is named by that stage's
marker, whose hash covers its own inputs in turn: a change anywhere upstream is noticed, however far away.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spkssl import __version__
from spkssl.io.atomic import write_json

ABOUT = ("hash", "version", "settings", "inputs", "outputs")  # of the work; what else a marker has are its facts
_WHOLE = 256 << 20  # bytes: larger files are known by size, head and tail
_ENDS = 1 << 20


@dataclass(frozen=True)
class Recipe:
    """What decides a stage's result: its settings and its inputs."""

    settings: Mapping[str, Any]
    inputs: Mapping[str, str]  # absolute path -> fingerprint

    def named(self, mark: Path) -> dict[str, str]:
        """Inputs by their path from the marked folder: how they were written, and where all this lies, is no matter."""
        return {_name(path, mark): value for path, value in self.inputs.items()}

    def hash(self, mark: Path) -> str:
        content = [__version__, self.settings, self.named(mark)]
        return _digest(json.dumps(content, sort_keys=True, default=str).encode())


def recipe(settings: Mapping[str, Any], inputs: list[Path]) -> Recipe:
    return Recipe(settings, {os.path.abspath(path): fingerprint(path) for path in inputs})


def fingerprint(path: Path) -> str:
    """A digest of the content; a marker stands for what it marks; '' when there is no such file."""
    if not path.is_file():
        return ""
    if path.parent.name == ".done":
        return read(path).get("hash", "")
    size = path.stat().st_size
    with open(path, "rb") as file:
        if size <= _WHOLE:
            return _digest(file.read())
        head = file.read(_ENDS)
        file.seek(size - _ENDS)
        return _digest(head + file.read() + str(size).encode())


def read(path: Path) -> dict[str, Any]:
    """The marker, or {} where there is none or only a damaged one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def write(path: Path, made_from: Recipe, outputs: list[Path], facts: Mapping[str, Any]) -> None:
    """Mark the outputs as made from this recipe."""
    write_json(
        path,
        {
            "hash": made_from.hash(path),
            "version": __version__,
            **facts,
            "settings": made_from.settings,
            "inputs": made_from.named(path),
            "outputs": [_name(str(output), path) for output in outputs],
        },
    )


def stale(path: Path, now: Recipe) -> str:
    """Why the marked work must be done (again), in a few words; '' when it is fresh."""
    old = read(path)
    if not old:
        return "not done yet"
    missing = [name for name in old.get("outputs", []) if not _place(name, path).exists()]
    if missing:
        return f"{_shown(missing[0], path)} is missing"
    if old.get("hash") == now.hash(path):
        return ""
    if old.get("version") != __version__:
        return f"made by spkssl {old.get('version')}"
    before, after = old.get("inputs", {}), now.named(path)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if changed:
        return f"{_shown(changed[0], path)} changed" + (f" and {len(changed) - 1} more" if len(changed) > 1 else "")
    return f"{_first_difference(old.get('settings', {}), json.loads(json.dumps(now.settings, default=str)))} changed"


def _name(path: str, mark: Path) -> str:
    return os.path.relpath(path, mark.parent.parent)


def _place(name: str, mark: Path) -> Path:
    return mark.parent.parent / name


def _shown(name: str, mark: Path) -> str:
    return os.path.relpath(_place(name, mark))


def _first_difference(old: Any, new: Any, name: str = "") -> str:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in {**old, **new}:
            if old.get(key) != new.get(key):
                return _first_difference(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    return f"{name} ({old} -> {new})"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
