"""What a round of training made of its pseudo labels, from its utterances.npz: whom a gate let teach, what SSRL ended
with. True labels are compared with afterwards, where there are any.

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
from spkssl.metrics.clusters import majority_class, nmi, purity
from spkssl.report.clusters import read_clusters
from spkssl.report.run import metric_lines

UNUSED = -1  # the label of an utterance that taught nothing
_GATED, _REFLECTED = {"utt", "loss", "accepted", "label"}, {"utt", "label", "clean"}
_PRECISIONS = ("given", "accepted", "rejected", "corrected", "before_correction")
_STATS = ("active_classes", "changed_labels", "clean_mean", "effective_share")


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
        right = _right(files.labels, files.speakers, speaker)
        row["precision"] = {
            "given": _share(right[visited]),
            "accepted": _share(right[accepted]),
            "rejected": _share(right[visited & ~accepted]),
            "corrected": _share(_right(taught, files.speakers, speaker)[corrected]),
            "before_correction": _share(right[corrected]),
        }
        row["loss_auc"] = _auc(files.columns["loss"][visited], ~right[visited])
    epochs = list(_gate_epochs(files.metrics))
    counted = [epoch["idle_steps"] for epoch in epochs if epoch["idle_steps"] is not None]
    steps = sum(epoch["steps"] for epoch in epochs)
    return {**row, "steps": steps, "idle_steps": sum(counted) if counted else None, "epochs": epochs}


def reflection_row(files: Trained) -> dict[str, Any] | None:
    """The labels and clean probabilities SSRL ended with; None for other methods. `given_...`: those it began with."""
    if set(files.columns) != _REFLECTED:
        return None
    kept = (files.columns["label"] >= 0) & (files.labels >= 0 if files.labels is not None else True)
    labels, clean = files.columns["label"][kept].astype(np.int64), files.columns["clean"][kept].astype(np.float64)
    given = files.labels[kept] if files.labels is not None else None
    row: dict[str, Any] = {
        "n_utts": len(labels),
        "classes": len(np.unique(given)) if given is not None else None,
        "active": len(np.unique(labels)),
        "changed": float((labels != given).mean()) if given is not None else None,
        "clean": float(clean.mean()),
        "effective": float(clean.sum() ** 2 / (clean**2).sum() / len(clean)) if clean.any() else 0.0,
        **dict.fromkeys(("nmi", "purity", "given_nmi", "given_purity", "clean_right", "clean_wrong")),
    }
    if files.speakers is not None:
        speakers = files.speakers[kept]
        right = _right(labels, speakers, majority_class(speakers, labels))
        row |= {"nmi": nmi(speakers, labels), "purity": purity(speakers, labels)}
        row |= {"clean_right": _mean(clean[right]), "clean_wrong": _mean(clean[~right])}
        if given is not None:
            row |= {"given_nmi": nmi(speakers, given), "given_purity": purity(speakers, given)}
    return {**row, "epochs": list(_reflection_epochs(files.metrics))}


def _gate_epochs(metrics: Path) -> Iterable[dict[str, Any]]:
    """Means over the steps of each epoch, to which its lines belong whole."""
    for epoch, lines in _by_epoch(metrics).items():
        steps = sum(span for span, _ in lines)
        idle = _sum(lines, "idle")
        yield {
            "epoch": epoch,
            "steps": steps,
            "accepted": _sum(lines, "accepted", steps),
            "corrected": _sum(lines, "corrected", steps),
            "accuracy": _sum(lines, "accuracy", steps),
            "idle_steps": None if idle is None else round(idle),
        }


def _reflection_epochs(metrics: Path) -> Iterable[dict[str, Any]]:
    """What each epoch's last line says: these values change between epochs only."""
    for epoch, lines in _by_epoch(metrics).items():
        yield {"epoch": epoch, **{name: lines[-1][1].get(name) for name in _STATS}}


def _by_epoch(metrics: Path) -> dict[int, list[tuple[int, dict[str, Any]]]]:
    """Epoch -> the lines that end in it, each with the number of steps that it is the mean of."""
    found: dict[int, list[tuple[int, dict[str, Any]]]] = {}
    before = 0
    for line in metric_lines(metrics):
        found.setdefault(int(line.get("epoch", 0)), []).append((line["step"] - before, line))
        before = line["step"]
    return found


def _sum(lines: Iterable[tuple[int, dict[str, Any]]], name: str, over: int = 1) -> float | None:
    held = [span * line[name] for span, line in lines if isinstance(line.get(name), int | float)]
    return sum(held) / over if held else None


def _looked_up(table: Mapping[str, int], utts: list[str], path: Path) -> NDArray[np.int64]:
    missing = [utt for utt in utts if utt not in table]
    if missing:
        raise complain(path, f"says nothing of {some(missing)}, which training saw", "run stages 5 and 6 again")
    return np.array([table[utt] for utt in utts], np.int64)


def _right(labels: NDArray, speakers: NDArray, majority: NDArray) -> NDArray[np.bool_]:
    """Where a label's majority speaker is the utterance's; no label is not right."""
    known = (labels >= 0) & (labels < len(majority))
    return known & (majority[np.where(known, labels, 0)] == speakers)


def _share(right: NDArray) -> float | None:
    return float(right.mean()) if len(right) else None


def _mean(values: NDArray) -> float | None:
    return float(values.mean()) if len(values) else None


def _auc(values: NDArray, positive: NDArray) -> float | None:
    """Chance that a positive has the higher value than a negative, ties half; None unless there are both."""
    many, few = int(positive.sum()), int((~positive).sum())
    if not many or not few:
        return None
    return float((rankdata(values)[positive].sum() - many * (many + 1) / 2) / (many * few))
