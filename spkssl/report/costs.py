"""What it took to come to each encoder, from the markers: systems are to be held against one another at equal cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spkssl.io import markers
from spkssl.report.compare import Group, moments
from spkssl.report.run import View
from spkssl.report.tables import Table, number
from spkssl.stages.results import stage_of
from spkssl.stages.run_folder import PRETRAIN, before, round_name


def spread(groups: Sequence[Group], order: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each system and encoder that was trained: mean and standard deviation (n - 1) over runs.

    `step`: from the encoder before; `since`: from the pretrained one. What a run cannot tell enters no mean: `unknown`
    counts the runs whose `since` is not known.
    """
    rows = []
    for at in order:
        for group in groups:
            runs = [view for view in group.runs if view.training(at)]
            if not runs:
                continue
            since = [seconds_since_pretraining(view, at) for view in runs]
            rows.append(
                {
                    "system": group.name,
                    "at": at,
                    "runs": len(runs),
                    "step": moments([seconds_of_step(view, at) for view in runs]),
                    "since": moments(since),
                    "unknown": sum(value is None for value in since),
                }
            )
    return rows


def seconds_of_step(view: View, at: str) -> float | None:
    """CPU seconds of one encoder's training, and before it of what made its labels; None where some are not known."""
    facts = view.training(at)
    parts = [None if facts.get("resumed") else facts.get("cpu_seconds")]
    if number := stage_of(at)["round"]:
        old = before(number)
        parts += [_marked(view, name) for name in (f"extract.{old}.{_train_set(view)}", f"cluster.{old}")]
    return _sum(parts)


def seconds_since_pretraining(view: View, at: str) -> float | None:
    """CPU seconds from the pretrained encoder to this one, all rounds in between; 0 of the pretrained one.

    An encoder trained on given labels has only its own training behind it.
    """
    if at == PRETRAIN:
        return 0.0
    number = stage_of(at)["round"]
    return _sum([seconds_of_step(view, each) for each in (map(round_name, range(1, number + 1)) if number else [at])])


def known(view: View) -> dict[str, dict[str, Any]]:
    """Encoder -> all that a comparison takes from the markers of its making, to be told when one of them changes."""
    made = {at: facts for at in view.order if (facts := view.training(at))}
    return {at: {**facts, "step_seconds": seconds_of_step(view, at)} for at, facts in made.items()}


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("system", "encoder", "runs", "CPU s of this step", "sd", "CPU s since pretraining", "sd")
    lines = []
    for row in rows:
        cells = [row["system"], row["at"], str(row["runs"])]
        lines.append((*cells, *(number(row[name][part], 1) for name in ("step", "since") for part in ("mean", "sd"))))
    notes = [
        "Of all cores together, means over runs. This step: the encoder's training and, of a round, what made its "
        "labels: extraction of the training set by the encoder before, and clustering. Since pretraining: this step "
        "and those of all rounds before it. - where a marker is of a version that did not keep CPU time, or a training "
        "was resumed. Work on a GPU, on other machines and of ranks other than the first is not in it."
    ]
    for row in rows:
        if row["unknown"]:
            what = f"without {row['unknown']} of {row['runs']} runs, of which some step's time is not known"
            notes.append(f"{row['system']}, {row['at']}: {what}.")
    return Table("Cost", columns, tuple(lines), 2, tuple(notes))


def _train_set(view: View) -> str:
    return (view.config.get("data") or {}).get("train", "train")


def _marked(view: View, name: str) -> float | None:
    return markers.read(view.exp / ".done" / f"{name}.json").get("cpu_seconds")


def _sum(parts: Sequence[float | None]) -> float | None:
    held = [part for part in parts if part is not None]
    return sum(held) if len(held) == len(parts) else None
