"""Several runs side by side: means and spreads over seeds, and differences on the same trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spkssl import rng
from spkssl.errors import complain
from spkssl.io.scores import read_scores
from spkssl.io.speakers import trial_speakers
from spkssl.io.trials import Trials
from spkssl.metrics.bootstrap import paired_difference
from spkssl.report.run import View, labels_used


@dataclass
class Group:
    """Runs that differ in nothing but the seed."""

    name: str
    runs: list[View] = field(default_factory=list)


def groups(views: Sequence[View]) -> list[Group]:
    """By system and configuration, in the order given; a system that comes in two configurations is told by folder.

    Runs that were given a name are repetitions of whatever has that name.
    """
    found: dict[tuple[str, str], Group] = {}
    for view in views:
        key = view.name, "" if view.called else view.config_digest
        found.setdefault(key, Group(view.name)).runs.append(view)
    for group in found.values():
        made = [view.repetition for view in group.runs]
        twice = [repetition for repetition in made if made.count(repetition) > 1]
        if twice:
            folders = ", ".join(str(view.exp) for view in group.runs if view.repetition == twice[0])
            what = f"{folders} are the same system with the same seed {twice[0][1]} on the same data"
            raise complain("--compare", what, "name each run once, or give repetitions another --seed")
    names = [name for name, _ in found]
    for (name, _), group in found.items():
        if names.count(name) > 1:
            group.name = f"{name} ({group.runs[0].exp.name})"
    labels = [group.name for group in found.values()]
    for group in found.values():
        if labels.count(group.name) > 1:
            group.name = f"{group.runs[0].name} ({group.runs[0].exp})"
    return list(found.values())


def mixed(groups: Sequence[Group]) -> list[str]:
    """A note on each group whose runs do not share one configuration."""
    found = [(group, {view.config_digest for view in group.runs}) for group in groups]
    text = "{}: its runs have {} different configurations, the spread is not of seeds alone"
    return [text.format(group.name, len(digests)) for group, digests in found if len(digests) > 1]


def spread(groups: Sequence[Group], order: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each system, encoder, back-end and list: mean and standard deviation (n - 1) over seeds."""
    rows = []
    for trials, at, backend in _keys(groups, order):
        for group in groups:
            found = [row for view in group.runs if (row := _row(view, trials, at, backend))]
            if found:
                points = list(dict.fromkeys(p for row in found for p in row["min_dcf"]))
                rows.append(
                    {
                        "system": group.name,
                        "at": at,
                        "backend": backend,
                        "trials": trials,
                        "labels_used": labels_used(found[0]),
                        "seeds": [view.seed for view in group.runs if _row(view, trials, at, backend)],
                        "eer": moments([row["eer"] for row in found]),
                        "min_dcf": {p: moments([row["min_dcf"].get(p) for row in found]) for p in points},
                    }
                )
    return rows


def cluster_spread(groups: Sequence[Group], order: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each system and clustering."""
    rows = []
    for at in order:
        for group in groups:
            found = [row for view in group.runs for row in view.clusters if row["at"] == at]
            if found:
                scores = {name: moments([row.get(name) for row in found]) for name in ("k", "nmi", "purity", "ari")}
                rows.append({"system": group.name, "at": at, **scores})
    return rows


_GATES = {  # column -> where a row has it, and its factor
    "accepted %": (("accepted",), 100),
    "precision of accepted": (("precision", "accepted"), 1),
    "of rejected": (("precision", "rejected"), 1),
    "of all": (("precision", "given"), 1),
    "AUC of loss": (("loss_auc",), 1),
    "corrected %": (("corrected",), 100),
    "of corrected": (("precision", "corrected"), 1),
    "before": (("precision", "before_correction"), 1),
    "idle steps": (("idle_steps",), 1),
}
_REFLECTIONS = {
    "active": (("active",), 1),
    "speakers": (("speakers",), 1),
    "changed %": (("changed",), 100),
    "clean": (("clean",), 1),
    "NMI": (("nmi",), 1),
    "NMI at first": (("given_nmi",), 1),
    "purity": (("purity",), 1),
    "purity at first": (("given_purity",), 1),
}
_BY_EPOCH = ("active_classes", "changed_labels", "clean_mean")


def gate_spread(groups: Sequence[Group], order: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each round and system with a gate."""
    return _label_spread(groups, order, lambda view: view.gates, _GATES)


def reflection_spread(groups: Sequence[Group], order: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each round and system that judges its own labels."""
    return _label_spread(groups, order, lambda view: view.reflections, _REFLECTIONS)


def reflection_epochs(groups: Sequence[Group], order: Sequence[str]) -> list[dict[str, Any]]:
    """By round and system: the means over runs of what each epoch was like; an epoch counts the runs that had it."""
    rows = []
    for at in order:
        for group in groups:
            found = [row for view in group.runs for row in view.reflections if row["at"] == at and row["epochs"]]
            if not found:
                continue
            epochs: dict[int, list[dict[str, Any]]] = {}
            for epoch in (epoch for row in found for epoch in row["epochs"]):
                epochs.setdefault(epoch["epoch"], []).append(epoch)
            means = [
                {"epoch": k, **{name: moments([each.get(name) for each in epochs[k]])["mean"] for name in _BY_EPOCH}}
                for k in sorted(epochs)
            ]
            speakers = moments([row.get("speakers") for row in found])["mean"]
            rows.append({"system": group.name, "at": at, "runs": len(found), "speakers": speakers, "epochs": means})
    return rows


def differences(
    groups: Sequence[Group], order: Sequence[str], replicates: int, seed: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Each system minus the first one, run by run, with a 95 % interval; and why some have no difference.

    Speakers are drawn once for both systems of a pair, so what the trials have in common cancels. EER in percent
    points, by interpolation.
    """
    rows, notes = [], []
    for trials, at, backend in _keys(groups, order):
        base, *others = groups
        for other in others:
            for first, second in _pairs(base, other):
                one, two = (_row(view, trials, at, backend) for view in (first, second))
                if one is None or two is None:
                    continue
                if first.data is None:
                    notes.append(
                        "no differences of runs whose data folder is not known: give --data, or report each run first"
                    )
                    continue
                found = _difference(first.score_file(one), second.score_file(two), first.data, trials, replicates, seed)
                if isinstance(found, str):
                    notes.append(found)
                    continue
                label = {"at": at, "backend": backend, "trials": trials}
                names = {"system": other.name, "minus": base.name, "seeds": [second.seed, first.seed]}
                names["data"] = first.data.name
                rows.append({**names, **label, "eer": two["eer"], "other_eer": one["eer"], **found})
    return rows, list(dict.fromkeys(notes))


def difference_spread(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Over the pairs of runs: mean and deviation of the difference, and in how many pairs which system was better."""
    found: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in ("system", "minus", "at", "backend", "trials")), []).append(row)
    return [
        {
            **dict(zip(("system", "minus", "at", "backend", "trials"), key, strict=True)),
            "difference": moments([row["difference"] for row in pairs]),
            "lower": sum(row["high"] < 0 for row in pairs),
            "higher": sum(row["low"] > 0 for row in pairs),
        }
        for key, pairs in found.items()
    ]


def speakers_of(data: Path, trials: str) -> tuple[Path, Path] | None:
    """The list below `data` and the table of its speakers."""
    found = sorted(data.glob(f"*/trials/{trials}"))
    if not found:
        return None
    folder = found[0].parents[1]
    tables = (folder / "ref" / "utt2spk", folder / "utt2spk")
    return next(((found[0], table) for table in tables if table.exists()), None)


def _label_spread(
    groups: Sequence[Group],
    order: Sequence[str],
    table: Callable[[View], list[dict[str, Any]]],
    names: Mapping[str, tuple[tuple[str, ...], int]],
) -> list[dict[str, Any]]:
    rows = []
    for at in order:
        for group in groups:
            found = [row for view in group.runs for row in table(view) if row["at"] == at]
            if found:
                values = {
                    name: moments([_scaled(row, keys, factor) for row in found])
                    for name, (keys, factor) in names.items()
                }
                rows.append({"system": group.name, "at": at, "runs": len(found), "values": values})
    return rows


def _scaled(row: Any, keys: Sequence[str], factor: int) -> float | None:
    for key in keys:
        row = row.get(key)  # a report of an older version has fewer
    return None if row is None else factor * row


def _difference(first: Path, second: Path, data: Path, name: str, replicates: int, seed: int) -> dict[str, Any] | str:
    known = speakers_of(data, name)
    if known is None:
        return f"{name}: no list of this name with a table of speakers below {data}, so no differences"
    (trials, scores), (other, other_scores) = read_scores(first), read_scores(second)
    if not _same(trials, other):
        runs = f"{first.parents[3]} and {second.parents[3]}"
        return f"{name}: not the same trials in the same order in {runs}, so no difference"
    assert trials.target is not None, "rows of results.json are of labelled trials"
    speakers = trial_speakers(trials, known[0].with_name(f"{name}.enroll"), known[1])
    if speakers is None:
        return f"{name}: {known[1]} knows no speakers, so no differences"
    draws = rng.numpy(seed, "bootstrap", name)
    found = paired_difference(other_scores, scores, trials.target, *speakers, draws, n=replicates)
    low, high = 100 * found.low, 100 * found.high
    return {"difference": 100 * found.estimate, "low": low, "high": high, "replicates": replicates}


def _same(one: Trials, two: Trials) -> bool:
    """Whether both are the same trials with the same labels in the same order."""
    if len(one) != len(two):
        return False
    names = one.enrol_names == two.enrol_names and one.test_names == two.test_names
    equal = names and (one.enrol == two.enrol).all() and (one.test == two.test).all()
    return bool(equal and one.target is not None and two.target is not None and (one.target == two.target).all())


def _pairs(base: Group, other: Group) -> list[tuple[View, View]]:
    """Runs of the same data and seed; where none are shared, the first with the first and so on."""
    by_name = {view.repetition: view for view in base.runs}
    shared = [(by_name[view.repetition], view) for view in other.runs if view.repetition in by_name]
    return shared or list(zip(base.runs, other.runs, strict=False))


def _keys(groups: Sequence[Group], order: Sequence[str]) -> list[tuple[str, str, str]]:
    place = {at: k for k, at in enumerate(order)}
    found = {(row["trials"], row["at"], row["backend"]) for group in groups for view in group.runs for row in view.rows}
    return sorted(found, key=lambda key: (key[0], place[key[1]], key[2]))


def _row(view: View, trials: str, at: str, backend: str) -> Mapping[str, Any] | None:
    wanted = (trials, at, backend)
    return next((row for row in view.rows if (row["trials"], row["at"], row["backend"]) == wanted), None)


def moments(values: Sequence[float | None]) -> dict[str, Any]:
    held = [value for value in values if value is not None]
    if not held:
        return {"mean": None, "sd": None, "n": 0}
    sd = float(np.std(held, ddof=1)) if len(held) > 1 else None
    return {"mean": float(np.mean(held)), "sd": sd, "n": len(held)}
