"""`results.json` of a run: a row for each scored list and each clustering; what is made again replaces its row."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spkssl.errors import complain
from spkssl.io.atomic import write_json

_KEYS = {"results": ("at", "backend", "trials"), "clusters": ("at",)}  # what tells rows apart


def read_results(exp: Path) -> dict[str, Any]:
    """The file, or empty tables where there is none."""
    path = exp / "results.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        found = {}
    except json.JSONDecodeError as error:
        raise complain(path, f"is not valid JSON ({error})", "move it away and score again") from None
    return {"system": None, "seed": None, "results": [], "clusters": [], **found}


def add_results(
    exp: Path, rows: Iterable[Mapping[str, Any]], facts: Mapping[str, Any] | None = None, *, table: str = "results"
) -> None:
    """Put rows into `results` or `clusters`, and facts (system, seed) on top. NaN and infinity become null."""
    found, keys = read_results(exp), _KEYS[table]
    rows = {tuple(row.get(key) for key in keys): row for row in rows}
    kept = {tuple(row.get(key) for key in keys): row for row in found[table]}
    found[table] = [_plain(row) for row in {**kept, **rows}.values()]
    write_json(exp / "results.json", {**found, **(facts or {})})


def stage_of(at: str) -> dict[str, Any]:
    """The columns that say which encoder: `round2` is round 2 of retrain."""
    number = at.removeprefix("round")
    if at != number and number.isdecimal():
        return {"at": at, "stage": "retrain", "round": int(number)}
    return {"at": at, "stage": at, "round": 0}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
