"""Whom the gate of a round let teach, from its utterances.npz. True labels are compared with afterwards, where there
are any.

A label is right where the majority speaker of its cluster is the utterance's own; so the precision of all labels that
were given is the purity of the clustering they came from, on the utterances that were trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from spkssl.errors import complain, some
from spkssl.io.tables import read_table
from spkssl.metrics.clusters import majority_class
from spkssl.report.clusters import read_clusters
from spkssl.report.epochs import by_epoch, mean, total

UNUSED = -1  # the label of an utterance that taught nothing
_GATED = {"utt", "loss", "accepted", "label"}
_PRECISIONS = ("given", "accepted", "rejected", "corrected", "before_correction")


@dataclass(frozen=True, eq=False)
class Trained:
    """The files of one round; `given`: the labels it trained on, `reference`: the true ones, None where unknown."""

    table: Path
    metrics: Path
    given: Path | None = None
    reference: Path | None = None

    @cached_property
    def columns(self) -> Mapping[str, NDArray]:
        """utterances.npz; {} for methods that tell nothing of single utterances."""
        if not self.table.exists():
            return {}
        try:
            with np.load(self.table, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (OSError, ValueError, BadZipFile) as error:
            raise complain(self.table, f"cannot be read ({error})", "train again (stage 6)") from None

    @cached_property
    def utts(self) -> list[str]:
        return [name.decode() for name in self.columns["utt"]]

    @cached_property
    def labels(self) -> NDArray[np.int64] | None:
        """(N,) the given label of each utterance of the table."""
        if self.given is None:
            return None
        utts, clusters = read_clusters(self.given)
        return _looked_up(dict(zip(utts, clusters.tolist(), strict=True)), self.utts, self.given)

    @cached_property
    def speakers(self) -> NDArray[np.int64] | None:
        """(N,) the true speaker of each utterance of the table, as a number."""
        if self.reference is None:
            return None
        truth = read_table(self.reference)
        number = {name: k for k, name in enumerate(sorted(set(truth.values())))}
        return _looked_up({utt: number[name] for utt, name in truth.items()}, self.utts, self.reference)


def gate_row(files: Trained) -> dict[str, Any] | None:
    """Whom the gate let teach, each utterance by its last visit; None where the method has no gate.

    Precisions are None without true labels, and of nobody. `loss_auc`: how often a wrong label has the higher loss.
    """
    if set(files.columns) != _GATED:
        return None
    inside = files.labels >= 0 if files.labels is not None else np.ones(len(files.utts), bool)
    visited = np.isfinite(files.columns["loss"]) & inside
    accepted = files.columns["accepted"] & visited
    taught = files.columns["label"]
    corrected = visited & ~accepted & (taught != UNUSED)
    count = max(int(visited.sum()), 1)
    row: dict[str, Any] = {
        "n_utts": int(inside.sum()),
        "unvisited": int((inside & ~visited).sum()),
        "accepted": int(accepted.sum()) / count,
        "corrected": int(corrected.sum()) / count,
        "precision": dict.fromkeys(_PRECISIONS),
        "loss_auc": None,
    }
    if files.labels is not None and files.speakers is not None:
        speaker = majority_class(files.speakers, files.labels)
        right = right_labels(files.labels, files.speakers, speaker)
        row["precision"] = {
            "given": _share(right[visited]),
            "accepted": _share(right[accepted]),
            "rejected": _share(right[visited & ~accepted]),
            "corrected": _share(right_labels(taught, files.speakers, speaker)[corrected]),
            "before_correction": _share(right[corrected]),
        }
        row["loss_auc"] = _auc(files.columns["loss"][visited], ~right[visited])
    epochs = list(_gate_epochs(files.metrics))
    counted = [epoch["idle_steps"] for epoch in epochs if epoch["idle_steps"] is not None]
    steps = sum(epoch["steps"] for epoch in epochs)
    return {**row, "steps": steps, "idle_steps": sum(counted) if counted else None, "epochs": epochs}


def _gate_epochs(metrics: Path) -> Iterable[dict[str, Any]]:
    """Means over the steps of each epoch."""
    for epoch, lines in by_epoch(metrics).items():
        idle = total(lines, "idle")
        yield {
            "epoch": epoch,
            "steps": sum(steps for steps, _ in lines),
            "accepted": mean(lines, "accepted"),
            "corrected": mean(lines, "corrected"),
            "accuracy": mean(lines, "accuracy"),
            "idle_steps": None if idle is None else round(idle),
        }


def _looked_up(table: Mapping[str, int], utts: list[str], path: Path) -> NDArray[np.int64]:
    missing = [utt for utt in utts if utt not in table]
    if missing:
        raise complain(path, f"says nothing of {some(missing)}, which training saw", "run stages 5 and 6 again")
    return np.array([table[utt] for utt in utts], np.int64)


def right_labels(labels: NDArray, speakers: NDArray, majority: NDArray) -> NDArray[np.bool_]:
    """(N,) where a label's majority speaker is the utterance's; no label is not right."""
    known = (labels >= 0) & (labels < len(majority))
    return known & (majority[np.where(known, labels, 0)] == speakers)


def _share(right: NDArray) -> float | None:
    return float(right.mean()) if len(right) else None


def _auc(values: NDArray, positive: NDArray) -> float | None:
    """Chance that a positive has the higher value than a negative, ties half; None unless there are both."""
    many, few = int(positive.sum()), int((~positive).sum())
    if not many or not few:
        return None
    return float((rankdata(values)[positive].sum() - many * (many + 1) / 2) / (many * few))
