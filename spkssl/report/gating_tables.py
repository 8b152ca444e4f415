"""Tables of what gates made of their pseudo labels: of one run, by round and by epoch, and over runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spkssl.report.reflection_tables import epoch_spread_table, epoch_table, reflection_table
from spkssl.report.run import View
from spkssl.report.tables import Table, epoch_lines, number, percent

_RIGHT = (
    "Precision, against the TRUE LABELS, which nothing but this report reads: the share of labels whose cluster's "
    "majority speaker is the utterance's own."
)


def gating_tables(view: View) -> list[Table]:
    """By round; none where no method judged its labels."""
    gates = [_gates(view.gates)] if view.gates else []
    return [*gates, *([reflection_table(view.reflections)] if view.reflections else [])]


def epoch_tables(view: View) -> list[Table]:
    shown = [_gate_epochs(view.gates)] if any(row["epochs"] for row in view.gates) else []
    return shown + [epoch_table(row) for row in view.reflections if row["epochs"]]


def spread_tables(found: Mapping[str, Any]) -> list[Table]:
    """Of a comparison: means and deviations over runs."""
    shown = []
    if rows := found.get("gates"):
        note = "Precisions against the TRUE LABELS, see a run's own report; - where its report had none, or of nobody."
        shown.append(_spread("Gates", rows, note))
    if rows := found.get("reflections"):
        note = (
            "Active: classes that the final labels name; speakers: of the same utterances. They, NMI and purity of "
            "these labels: against the TRUE LABELS."
        )
        shown.append(_spread("Labels of reflective learning", rows, note))
    if rows := found.get("reflection_epochs"):
        shown.append(epoch_spread_table(rows))
    return shown


def _gates(rows: Sequence[Mapping[str, Any]]) -> Table:
    known = any(row["precision"]["given"] is not None for row in rows)
    corrects = any(row["corrected"] for row in rows)
    columns = ("round", "utterances", "accepted %")
    columns += ("precision of accepted", "of rejected", "of all", "AUC of loss") if known else ()
    columns += ("corrected %",) if corrects else ()
    columns += ("precision of corrected", "before") if corrects and known else ()
    columns += ("steps", "idle steps")
    lines = []
    for row in rows:
        right = row["precision"]
        cells = [row["at"], f"{row['n_utts']:,}", percent(row["accepted"])]
        if known:
            cells += [number(right[name], 4) for name in ("accepted", "rejected", "given")]
            cells.append(number(row["loss_auc"], 4))
        cells += [percent(row["corrected"])] if corrects else []
        if corrects and known:
            cells += [number(right[name], 4) for name in ("corrected", "before_correction")]
        idle = row["idle_steps"]
        lines.append((*cells, f"{row['steps']:,}", "-" if idle is None else f"{idle:,}"))
    notes = [
        "Accepted: by the gate, at an utterance's last visit. Idle steps: batches in which nothing taught; where a "
        "step has nothing else, it was not made."
    ]
    if unvisited := sum(row["unvisited"] for row in rows):
        notes.append(f"{unvisited:,} utterances were never visited and count neither way.")
    if known:
        notes += [_RIGHT, "AUC of loss: how often a wrong label has a higher loss than a right one; 0.5 is chance."]
    return Table("Gate", columns, tuple(lines), 1, tuple(notes))


def _gate_epochs(rows: Sequence[Mapping[str, Any]]) -> Table:
    corrects = any(epoch["corrected"] is not None for row in rows for epoch in row["epochs"])
    columns: tuple[str, ...] = ("epoch",)
    for row in rows:
        columns += (f"{row['at']}: accepted %", *(["corrected %"] if corrects else []), "idle steps")

    def cells(epoch: Mapping[str, Any]) -> list[str]:
        corrected = [percent(epoch.get("corrected"))] if corrects else []
        return [percent(epoch.get("accepted")), *corrected, number(epoch.get("idle_steps"), 0)]

    return Table("Gate by epoch", columns, epoch_lines(rows, cells), 0, ("Means over the steps of an epoch.",))


def _spread(title: str, rows: Sequence[Mapping[str, Any]], note: str) -> Table:
    names = [name for name in rows[0]["values"] if any(row["values"][name]["n"] for row in rows)]
    columns = ("system", "round", "runs", *(cell for name in names for cell in (f"{name} mean", "sd")))
    lines = []
    for row in rows:
        cells = [row["system"], row["at"], str(row["runs"])]
        for name in names:
            moments, share = row["values"][name], name.endswith("%")
            digits = 1 if name in ("active", "speakers", "idle steps") else 2 if share else 4
            cells += [number(moments[key], digits) for key in ("mean", "sd")]
        lines.append(tuple(cells))
    return Table(title, columns, tuple(lines), 2, (note,))
