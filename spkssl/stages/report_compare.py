"""What the stage `report` does with several runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from spkssl import config
from spkssl.backend.scoring import ScoreConfig
from spkssl.io.atomic import write_json, write_text
from spkssl.report import compare, compare_tables, costs, trainings
from spkssl.report.run import View
from spkssl.report.setting import as_typed
from spkssl.stages.settings import Settings
from spkssl.stages.stage import Run, marker, once, say

_PARTS = {
    "runs",
    "spread",
    "clusters",
    "gates",
    "reflections",
    "reflection_epochs",
    "trainings",
    "costs",
    "differences",
    "difference_spread",
    "notes",
}  # of compare.json


def compare_runs(settings: Settings, run: Run, views: Sequence[View], out: Path | None) -> None:
    """Show the tables; with `out`, keep them there, and skip what is up to date."""
    replicates = config.build(ScoreConfig, settings.section("score"), f"{settings.source}: score").bootstrap
    if out is None:
        if not run.dry_run:
            _show(_found(settings, views, replicates))
        return

    def work() -> dict[str, Any]:
        found = _found(settings, views, replicates)
        command = as_typed(sys.argv)
        write_json(out / "compare.json", found)
        write_text(out / "COMPARE.md", compare_tables.markdown(found, command))
        write_text(out / "compare.html", compare_tables.page(found, command))
        return {"runs": len(views)}

    inputs = [path for view in views for path in (view.exp / "results.json", view.exp / "config.yaml") if path.exists()]
    inputs += [view.score_file(row) for view in views for row in view.rows]
    known = [compare.speakers_of(view.data, name) for view in views if view.data is not None for name in view.lists()]
    inputs += [path for pair in known if pair is not None for path in pair]
    inputs += [path for view in views for at in view.order if (path := view.metrics_file(at)).exists()]
    mark = marker(out, "compare")
    once(
        run if _whole(out / "compare.json") or not mark.exists() else replace(run, force=True),
        f"report {out}",
        mark,
        settings={
            "runs": [[view.called, str(view.exp)] for view in views],
            "bootstrap": replicates,
            "seed": settings.seed,
            # The fingerprint of a marker is of what was done, not of what it took.
            "work": {str(view.exp): costs.known(view) for view in views},
        },
        inputs=list(dict.fromkeys(inputs)),
        outputs=[out / name for name in ("compare.json", "COMPARE.md", "compare.html")],
        work=work,
        log=out / "log" / "compare.log",
    )
    if not run.dry_run:
        _show(json.loads((out / "compare.json").read_text(encoding="utf-8")))
        click.echo(f"{out / 'COMPARE.md'}, {out / 'compare.html'}")


def _whole(path: Path) -> bool:
    """Whether this comparison, if there is one, has all its parts: one of an older version has fewer."""
    return not path.exists() or set(json.loads(path.read_text(encoding="utf-8"))) >= _PARTS


def _found(settings: Settings, views: Sequence[View], replicates: int) -> dict[str, Any]:
    order = max((view.order for view in views), key=len)
    order = list(dict.fromkeys((*order, *(at for view in views for at in view.order))))
    groups = compare.groups(views)
    rows, notes = [], []
    if len(groups) > 1 and replicates:
        rows, notes = compare.differences(groups, order, replicates, settings.seed)
    notes += compare.mixed(groups)
    for note in notes:
        say(note)
    return {
        "runs": [{"exp": str(view.exp), "system": view.name, "seed": view.seed} for view in views],
        "spread": compare.spread(groups, order),
        "clusters": compare.cluster_spread(groups, order),
        "gates": compare.gate_spread(groups, order),
        "reflections": compare.reflection_spread(groups, order),
        "reflection_epochs": compare.reflection_epochs(groups, order),
        "trainings": trainings.spread(groups, order),
        "costs": costs.spread(groups, order),
        "differences": rows,
        "difference_spread": compare.difference_spread(rows),
        "notes": notes,
    }


def _show(found: dict[str, Any]) -> None:
    for table in compare_tables.tables(found):
        click.echo("\n".join(table.lines()) + "\n")
