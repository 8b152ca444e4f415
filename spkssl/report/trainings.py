"""What several runs' trainings cost, and how they looked at their end: health, and the terms that were stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spkssl.report.compare import Group, moments
from spkssl.report.epochs import Lines, by_epoch, mean
from spkssl.report.tables import Table, number

_WATCHED = ("embed_std", "embed_cos", "entropy", "distinct")
_FACTS = ("peak_mb", "steps")


def spread(groups: Sequence[Group], order: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each system and encoder that was trained: mean and standard deviation (n - 1) over runs.

    `ended`: scalars that are missing from the last epoch on, with the number of epochs that had them.
    """
    rows = []
    for at in order:
        for group in groups:
            cost = [found for view in group.runs if (found := view.training(at))]
            if not cost:
                continue
            seen = [list(by_epoch(view.metrics_file(at)).values()) for view in group.runs]
            values = {name: moments([row.get(name) for row in cost]) for name in _FACTS}
            values["cpu_seconds"] = moments([None if row.get("resumed") else row.get("cpu_seconds") for row in cost])
            values |= {name: moments([mean(epochs[-1], name) for epochs in seen if epochs]) for name in _WATCHED}
            stopped = [_ended(epochs) for epochs in seen]
            names = sorted({name for found in stopped for name in found})
            ended = {name: moments([found.get(name) for found in stopped]) for name in names}
            resumed = sum("resumed" in row for row in cost)
            rows.append(
                {"system": group.name, "at": at, "runs": len(cost), "resumed": resumed, **values, "ended": ended}
            )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> Table:
    columns = ("system", "encoder", "runs", "CPU s mean", "sd", "peak MB", "steps")
    columns += tuple(name for watched in _WATCHED for name in (f"{watched} mean", "sd"))
    lines = []
    for row in rows:
        cells = [row["system"], row["at"], str(row["runs"])]
        cells += [number(row["cpu_seconds"]["mean"], 1), number(row["cpu_seconds"]["sd"], 1)]
        cells += [number(row[name]["mean"], 0) for name in ("peak_mb", "steps")]
        cells += [number(row[name][part], 4) for name in _WATCHED for part in ("mean", "sd")]
        lines.append(tuple(cells))
    notes = (
        "CPU s: of all cores together, - where the marker is of a version that did not keep it. The others: means of "
        "the last epoch. embed_std: deviation of unit embeddings times the root of their size, 1 when spread, 0 when "
        "collapsed; embed_cos: their mean cosine; entropy: of the mean assignment over its maximum; distinct: "
        "prototypes that are somebody's nearest in a batch.",
        *(_left_out(row) for row in rows if row["resumed"]),
        *(_sentence(row) for row in rows if row["ended"]),
    )
    return Table("Trainings", columns, tuple(lines), 2, notes)


def _left_out(row: dict[str, Any]) -> str:
    what = f"CPU s leaves out {row['resumed']} of {row['runs']} runs, whose training was resumed"
    return f"{row['system']}, {row['at']}: {what}: only the last call's are known."


def _sentence(row: dict[str, Any]) -> str:
    parts = []
    for name, found in row["ended"].items():
        sd = "" if found["sd"] is None else f" (sd {found['sd']:.1f})"
        parts.append(f"{name} after {found['mean']:.1f}{sd} epochs in {found['n']} of {row['runs']} runs")
    return f"{row['system']}, {row['at']}, ended before the training: {', '.join(parts)}."


def _ended(epochs: Sequence[Lines]) -> dict[str, int]:
    """Scalars that the first epoch has and the last has not -> how many epochs had them."""
    ends = [lines[-1][1] for lines in epochs]
    gone = ends[0].keys() - ends[-1].keys() if ends else set()
    return {name: sum(name in line for line in ends) for name in gone}
