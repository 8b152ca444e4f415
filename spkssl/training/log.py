"""`metrics.jsonl`: one JSON object per line, averaged over the steps and ranks since the line before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from spkssl import dist
from spkssl.io.atomic import write_text


class Meter:
    """Running sums of scalars; kept on their device until a line is due, and part of the checkpoint."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, scalars: dict[str, Tensor]) -> None:
        for name, value in scalars.items():
            value = value.detach().double()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The averages over steps and ranks; starts again from nothing."""
        means = {name: float(dist.mean(self.sums[name] / self.counts[name])) for name in sorted(self.sums)}
        self.sums, self.counts = {}, {}
        return means

    def state(self) -> dict[str, Any]:
        """Means over ranks of the sums; every rank takes part, and every rank may go on from them."""
        sums = {name: dist.mean(self.sums[name]).cpu() for name in sorted(self.sums)}
        return {"sums": sums, "counts": dict(self.counts)}

    def restore(self, state: dict[str, Any], device: str) -> None:
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}
        self.counts = dict(state["counts"])


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a line; numbers keep six significant digits."""
    short = {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in row.items()}
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(short) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines."""
    if not path.exists():
        return []
    *whole, _ = path.read_text(encoding="utf-8").split("\n")  # behind the last newline: nothing, or a torn line
    return [json.loads(line) for line in whole]


def rewind(path: Path, step: int) -> None:
    """Forget the lines after this step: training goes on from there and will write them again."""
    rows = [row for row in read(path) if row["step"] <= step]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
