"""Tables of what reflective learning (SSRL) made of its labels: of one run, by round and by epoch, and over runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spkssl.report.tables import Table, epoch_lines, number, percent

_IN_FORCE = "The labels and weights in force during the epoch, and how many labels changed before it."


def reflection_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    known = any(row["nmi"] is not None for row in rows)
    columns: tuple[str, ...] = ("round", "utterances", "classes", "active at the end", "speakers", "changed %")
    columns += ("clean mean", "effective %")
    if known:
        columns += ("NMI at first", "NMI at the end", "purity at first", "purity at the end")
        columns += ("clean mean of right", "of wrong")
    lines = []
    for row in rows:
        cells = [row["at"], f"{row['n_utts']:,}", number(row["classes"], 0), f"{row['active']:,}"]
        cells.append(number(row.get("speakers"), 0))
        cells += [percent(row["changed"]), number(row["clean"], 4), percent(row["effective"])]
        if known:
            names = ("given_nmi", "nmi", "given_purity", "purity", "clean_right", "clean_wrong")
            cells += [number(row[name], 4) for name in names]
        lines.append(tuple(cells))
    note = (
        "Active: classes that some utterance's final label names. Clean: probability that a label is right, its weight "
        "in the loss; effective: effective sample size of these weights."
    )
    truth = (
        "Speakers, NMI, purity, right and wrong: against the TRUE LABELS, which nothing but this report reads; right: "
        "the speaker is the majority of the class."
    )
    return Table("Reflective learning", columns, tuple(lines), 1, (note, *([truth] if known else [])))


def epoch_table(row: Mapping[str, Any]) -> Table:
    columns = ("epoch", "active classes", "changed %", "clean mean", "effective %")

    def cells(epoch: Mapping[str, Any]) -> list[str]:
        active, changed = number(epoch["active_classes"], 0), percent(epoch["changed_labels"])
        return [active, changed, number(epoch["clean_mean"], 4), percent(epoch["effective_share"])]

    title = f"Reflective learning by epoch: {row['at']}"
    return Table(title, columns, epoch_lines([row], cells), 0, (_IN_FORCE, *_speakers([("", row.get("speakers"))])))


def epoch_spread_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Of a comparison: means over the runs of a system, systems side by side."""
    several = len({row["at"] for row in rows}) > 1
    names = [f"{row['system']}, {row['at']}" if several else row["system"] for row in rows]
    columns: tuple[str, ...] = ("epoch",)
    for name in names:
        columns += (f"{name}: active", "changed %", "clean mean")

    def cells(epoch: Mapping[str, Any]) -> list[str]:
        active, changed = number(epoch.get("active_classes"), 1), percent(epoch.get("changed_labels"))
        return [active, changed, number(epoch.get("clean_mean"), 4)]

    lines = epoch_lines(rows, cells)
    runs = ", ".join(f"{row['runs']} of {name}" for name, row in zip(names, rows, strict=True))
    note = f"Means over runs ({runs}). {_IN_FORCE}"
    known = zip(names, (row["speakers"] for row in rows), strict=True)
    return Table("Reflective learning by epoch", columns, lines, 0, (note, *_speakers(known)))


def _speakers(known: Iterable[tuple[str, float | None]]) -> list[str]:
    """A sentence, where true labels are known; of runs on several sets a mean."""
    told = [f"{name}: {count:g}" if name else f"{count:g}" for name, count in known if count is not None]
    return [f"Speakers by the TRUE LABELS: {', '.join(told)}."] if told else []
