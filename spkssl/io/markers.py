"""Done markers: what a finished stage was made from, so that the next call can tell fresh from stale.

A marker holds a hash of the settings and of every input. An input that another stage made is named by that stage's
marker, whose hash covers its own inputs in turn: a change anywhere upstream is noticed, however far away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spkssl import __version__
from spkssl.io.atomic import write_json

_WHOLE = 256 << 20  # bytes: larger files are known by size, head and tail
_ENDS = 1 << 20


@dataclass(frozen=True)
class Recipe:
    """What decides a stage's result: its settings and its inputs."""

    settings: Mapping[str, Any]
    inputs: Mapping[str, str]  # path -> fingerprint

    @property
    def hash(self) -> str:
        return _digest(json.dumps([__version__, self.settings, dict(self.inputs)], sort_keys=True, default=str).encode())


def recipe(settings: Mapping[str, Any], inputs: list[Path]) -> Recipe:
    return Recipe(settings, {str(path): fingerprint(path) for path in inputs})


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
            "hash": made_from.hash,
            "version": __version__,
            **facts,
            "settings": made_from.settings,
            "inputs": dict(made_from.inputs),
            "outputs": [str(output) for output in outputs],
        },
    )


def stale(path: Path, now: Recipe) -> str:
    """Why the marked work must be done (again), in a few words; '' when it is fresh."""
    old = read(path)
    if not old:
        return "not done yet"
    missing = [output for output in old.get("outputs", []) if not Path(output).exists()]
    if missing:
        return f"{missing[0]} is missing"
    if old.get("hash") == now.hash:
        return ""
    if old.get("version") != __version__:
        return f"made by spkssl {old.get('version')}"
    before = old.get("inputs", {})
    changed = [name for name in {**before, **now.inputs} if before.get(name) != now.inputs.get(name)]
    if changed:
        return f"{changed[0]} changed" + (f" and {len(changed) - 1} more" if len(changed) > 1 else "")
    return f"{_first_difference(old.get('settings', {}), json.loads(json.dumps(now.settings, default=str)))} changed"


def _first_difference(old: Any, new: Any, name: str = "") -> str:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in {**old, **new}:
            if old.get(key) != new.get(key):
                return _first_difference(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    return f"{name} ({old} -> {new})"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
