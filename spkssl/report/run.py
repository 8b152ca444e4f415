"""One run as a report sees it: its rows, and the files that stand behind them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from spkssl.config import build, read_yaml, to_dict
from spkssl.errors import InputError, complain
from spkssl.io import markers

SCORED_ELSEWHERE = "+quality"  # ends the back-end of rows whose scores calibration has changed
_FACTS = ("seconds", "cpu_seconds", "peak_mb", "steps", "utts", "classes")
_TRUE = {"none": "none", "pseudo": "pseudo", "true": "TRUE LABELS"}


@dataclass(frozen=True)
class View:
    """A run's folder and what its results.json says; `order` are its encoders, as a table lists them."""

    exp: Path
    results: Mapping[str, Any]
    order: tuple[str, ...]
    labels: Mapping[str, Path]  # encoder -> utt2cluster that its embeddings led to
    reference: Path | None = None  # true labels of the training set
    data: Path | None = None
    called: str = ""  # what a comparison names it; empty: its system

    @property
    def name(self) -> str:
        return self.called or str(self.results.get("system") or self.exp.name)

    @property
    def seed(self) -> int | None:
        return self.results.get("seed")

    @property
    def repetition(self) -> tuple[str, int | None]:
        """What tells runs of one system apart: the data they stand on, and the seed of training."""
        return str(self.data.resolve()) if self.data is not None else "", self.seed

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The scored lists, by list, then encoder, then back-end."""
        place = {at: k for k, at in enumerate(self.order)}
        rows = [row for row in self.results["results"] if row["at"] in place]
        return sorted(rows, key=lambda row: (row["trials"], place[row["at"]], row["backend"]))

    @cached_property
    def clusters(self) -> list[dict[str, Any]]:
        found = {row["at"]: row for row in self.results["clusters"]}
        return [found[at] for at in self.order if at in found]

    @property
    def gates(self) -> list[dict[str, Any]]:
        """What the gate of each round let teach; a row for each round whose method has one."""
        return [row for row in self.results.get("gates", []) if row["at"] in self.order]

    @property
    def reflections(self) -> list[dict[str, Any]]:
        """What each round that judges its own labels ended with."""
        return [row for row in self.results.get("reflections", []) if row["at"] in self.order]

    @cached_property
    def provenance(self) -> list[dict[str, Any]]:
        """The recorded calls, oldest first."""
        return markers.read(self.exp / "provenance.json").get("runs", [])

    @cached_property
    def config(self) -> dict[str, Any]:
        path = self.exp / "config.yaml"
        return read_yaml(path) if path.exists() else {}

    @cached_property
    def config_digest(self) -> str:
        """What the configuration is apart from the seed: runs that share it are repetitions of one system.

        Settings that came after the run was made count with their defaults. Loads the networks.
        """
        tree = {key: value for key, value in self._filled_in.items() if key != "seed"}
        if isinstance(retrain := tree.get("retrain"), dict) and (retrain.get("stop") or {}).get("rule") == "fixed":
            # A rule that never stops is the same as none, which older runs have.
            tree["retrain"] = {key: value for key, value in retrain.items() if key != "stop"}
        return _digest(tree)

    @property
    def _filled_in(self) -> Mapping[str, Any]:
        """The configuration with all defaults; as it is where it has what this version does not know."""
        from spkssl.stages.system import System

        try:
            return to_dict(build(System, self.config))
        except InputError:
            return self.config

    @property
    def rows_digest(self) -> str:
        return _digest([self.rows, self.results.get("system"), self.seed])

    def lists(self) -> list[str]:
        return list(dict.fromkeys(row["trials"] for row in self.rows))

    def score_file(self, row: Mapping[str, Any]) -> Path:
        name = row["backend"]
        if name.endswith(SCORED_ELSEWHERE):
            name = name.removesuffix(SCORED_ELSEWHERE) + "_calibrated"
        return self.exp / row["at"] / "scores" / name / f"{row['trials']}.scores"

    def metrics_file(self, at: str) -> Path:
        return self.exp / at / "metrics.jsonl"

    def trial_list(self, name: str) -> Path | None:
        """`data/<set>/trials/<name>`, of the one set that has it."""
        found = sorted(self.data.glob(f"*/trials/{name}")) if self.data is not None else []
        return found[0] if found else None

    def training(self, at: str) -> dict[str, Any]:
        """What the marker of this encoder's training says: seconds, peak_mb, steps; {} for what is not trained."""
        name = "pretrain" if at == "pretrain" else f"retrain.{at}"
        found = markers.read(self.exp / ".done" / f"{name}.json")
        log = self.exp / at / "log" / "train.log"
        # The marker times the last call; what an earlier, killed call took is nowhere.
        resumed = log.exists() and "resuming after step" in log.read_text(encoding="utf-8", errors="replace")
        facts = {key: found[key] for key in _FACTS if found.get(key) is not None}
        return {**facts, "resumed": True} if facts and resumed else facts

    def check(self) -> None:
        """An InputError unless there are rows, and a score file behind each."""
        if not self.rows:
            raise complain(self.exp / "results.json", "holds no result", "run stage 7 (score) first")
        for row in self.rows:
            path = self.score_file(row)
            if not path.exists():
                raise complain(path, "no such file, though results.json has its row", "score again (stage 7)")


def _digest(tree: Any) -> str:
    return hashlib.blake2b(json.dumps(tree, sort_keys=True, default=str).encode(), digest_size=4).hexdigest()


def labels_used(row: Mapping[str, Any]) -> str:
    """`none`, `pseudo`, or in capitals what was told the truth."""
    used = _TRUE[row["labels_used"]]
    return f"{used} + TRUE LABELS of the calibration trials" if row["backend"].endswith(SCORED_ELSEWHERE) else used


def read_metrics(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Scalar -> its steps and values, of the whole lines of a metrics.jsonl; {} where there is none."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for row in metric_lines(path):
        for name, value in row.items():
            if isinstance(value, int | float) and name not in ("step", "epoch"):
                steps, values = curves.setdefault(name, ([], []))
                steps.append(row["step"])
                values.append(value)
    return curves


def metric_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a metrics.jsonl; none where there is no such file."""
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(keepends=True), 1):
        if not line.endswith("\n"):
            continue  # being written
        try:
            row = json.loads(line)
            row["step"]
        except (json.JSONDecodeError, KeyError, TypeError):
            what = "is not a JSON object with a step"
            raise complain(f"{path}:{number}", what, "train again, or delete the line") from None
        found.append(row)
    return found
