"""Stage 8: the results of a run, or of several side by side, as tables and a page with plots."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from spkssl.errors import InputError, complain
from spkssl.io import markers
from spkssl.report.run import View
from spkssl.stages import run_folder
from spkssl.stages.results import add_results, read_results, stage_of
from spkssl.stages.settings import Settings, settings_options
from spkssl.stages.stage import DIRECTORY, Run, marker, once, require, run_options, say


@click.command()
@settings_options
@run_options
@click.option("--exp", type=DIRECTORY, multiple=True, help="The run's folder; several: they are compared.")
@click.option("--compare", multiple=True, metavar="[NAME=]DIR", help="A run, to be compared with the others given.")
@click.option("--data", type=DIRECTORY, help="The folder of the data directories.")
@click.option("--rounds", type=click.IntRange(0), help="Rounds that there must be (default: all there are).")
@click.option("--out", type=DIRECTORY, help="Of a comparison: the folder for COMPARE.md, compare.json, compare.html.")
def report(
    settings: Settings,
    run: Run,
    exp: tuple[Path, ...],
    compare: tuple[str, ...],
    data: Path | None,
    rounds: int | None,
    out: Path | None,
) -> None:
    """Stage 8: results of a run -> tables, RESULTS.md, report.html; of several runs -> a comparison.

    Of a run: `spkssl report --exp exp/dino --data data --rounds 2`. Of several, seeds of one system counting as
    repetitions: `spkssl report --compare exp/a --compare exp/b --data data`. Variants of a system are told apart by
    names: `--compare small=exp/a --compare large=exp/b`.
    """
    named = _names(compare)
    folders = list(dict.fromkeys((*exp, *named)))
    if not folders:
        raise complain("spkssl report", "no run was given", "give --exp, or --compare twice or more")
    if compare and len(folders) < 2:
        raise complain("--compare", f"got one run, {folders[0]}", "name at least two")
    if len(folders) == 1 and data is None:
        raise complain("spkssl report", "--exp needs --data", "name the folder of the data directories")
    try:
        views = [replace(view_of(settings, path, data, rounds), called=named.get(path, "")) for path in folders]
    except InputError as error:
        if not run.dry_run:
            raise
        say(f"report: would run, but: {error}")
        return
    if len(views) > 1:
        from spkssl.stages.report_compare import compare_runs

        compare_runs(settings, run, views, out)
        return
    _report(settings, run, views[0], rounds)
    if not run.dry_run:
        view = view_of(settings, folders[0], data, rounds)
        for table in _tables(view):
            click.echo("\n".join(table.lines()) + "\n")
        click.echo(f"{view.exp / 'RESULTS.md'}, {view.exp / 'report.html'}")


def _names(compare: tuple[str, ...]) -> dict[Path, str]:
    """Folder -> its name in the comparison, or ""."""
    named: dict[Path, str] = {}
    for name, folder in map(_named, compare):
        if named.setdefault(folder, name) != name:
            what = f"{folder} has two names, {named[folder] or 'none'} and {name or 'none'}"
            raise complain("--compare", what, "name each run once")
    return named


def _named(text: str) -> tuple[str, Path]:
    """`NAME=DIR` or `DIR` of --compare."""
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals and not Path(text).exists() else ("", Path(text))


def view_of(settings: Settings, exp: Path, data: Path | None, rounds: int | None) -> View:
    """The run as its files say it is; an InputError when a round that there must be is not scored."""
    require([exp], "check --exp")
    results = read_results(exp)
    if data is None and results.get("data"):
        data = exp / results["data"]  # where the run's own report found its trials
    scored = list(dict.fromkeys(row["at"] for row in results["results"]))
    numbers = [stage_of(at)["round"] for at in scored]
    order = run_folder.order(max(numbers, default=0) if rounds is None else rounds)
    # Encoders trained on labels of one's own (retrain --at) come last; rounds beyond --rounds are of another run.
    order += [at for at, number in zip(scored, numbers, strict=True) if at not in order and not number]
    missing = [at for at in order if stage_of(at)["round"] and at not in scored]
    if missing:
        raise complain(exp / "results.json", f"has no result of {missing[0]}", "run stages 6 and 7, or lower --rounds")
    found = {at: run_folder.labels_of(exp, at) for at in order}
    reference = data / _train_set(settings) / "ref" / "utt2spk" if data is not None else None
    view = View(
        exp,
        results,
        tuple(order),
        {at: path for at, path in found.items() if path.exists()},
        reference if reference is not None and reference.exists() else None,
        data,
    )
    view.check()
    return view


def _report(settings: Settings, run: Run, view: View, rounds: int | None) -> None:
    exp = view.exp
    outputs = [exp / name for name in ("results.json", "RESULTS.md", "report.html")]
    mark = marker(exp, "report")
    complete = {row["at"] for row in view.clusters if "size_histogram" in row} >= set(view.labels)
    complete = complete and {"gates", "reflections", "rounds"} <= set(view.results)
    # results.json is read and completed here, so among the inputs the rows of stage 7 stand for it.

    def work() -> dict[str, Any]:
        return _work(settings, view, rounds)

    once(
        run if complete or not mark.exists() else replace(run, force=True),
        f"report {exp}",
        mark,
        settings={"rounds": rounds, "train": _train_set(settings), "results.json": view.rows_digest},
        inputs=_inputs(view),
        outputs=outputs,
        work=work,
        log=exp / "log" / "report.log",
    )


def _train_set(settings: Settings) -> str:
    return settings.section("data").get("train", "train")


def _inputs(view: View) -> list[Path]:
    paths = [*(view.score_file(row) for row in view.rows), *view.labels.values()]
    paths += [path.parent / "info.json" for path in view.labels.values()]
    paths += [path for name in view.lists() if (path := view.trial_list(name)) is not None]
    paths += [path for at in view.order if (path := view.metrics_file(at)).exists()]
    paths += [path for at in view.order for path in (_utterances(view, at), view.exp / at / "stop.json")]
    paths += [view.exp / name for name in ("config.yaml", "provenance.json")]
    paths += [view.reference] if view.reference is not None else []
    return [path for path in dict.fromkeys(paths) if path.exists()]


def _utterances(view: View, at: str) -> Path:
    return view.exp / at / "utterances.npz"


def _tables(view: View) -> list[Any]:
    """What opens a report, and what is shown on screen."""
    from spkssl.report.gating_tables import gating_tables
    from spkssl.report.rounds import round_tables
    from spkssl.report.tables import cluster_table, results_table

    clusters = [cluster_table(view)] if view.clusters else []
    return [results_table(view), *clusters, *gating_tables(view), *round_tables(view)]


def _judged(view: View) -> dict[str, list[dict[str, Any]]]:
    """The tables `gates`, `reflections` and `rounds` of results.json: rows of the rounds that tell of such things."""
    from spkssl.report.gating import Trained, gate_row
    from spkssl.report.reflection import reflection_row
    from spkssl.report.rounds import round_row

    found: dict[str, list[dict[str, Any]]] = {"gates": [], "reflections": [], "rounds": []}
    for at in view.order:
        number = stage_of(at)["round"]
        if not number:
            continue
        given = run_folder.labels_of(view.exp, run_folder.before(number))
        changed = _changed_since(marker(view.exp, "retrain", at), given)
        if changed:
            say(f"{at}: {given} is not what it was trained on, so the report does not say how right those labels were")
        known = given if given.exists() and not changed else None
        files = Trained(_utterances(view, at), view.metrics_file(at), known, view.reference)
        decided = round_row(view.exp / at / "stop.json")
        for table, row in (("gates", gate_row(files)), ("reflections", reflection_row(files)), ("rounds", decided)):
            found[table] += [{**stage_of(at), **row}] if row else []
    return found


def _changed_since(mark: Path, path: Path) -> bool:
    """Whether the marked work was made from another content of this file; False where nothing is known."""
    before = markers.read(mark).get("inputs", {}).get(os.path.relpath(path, mark.parent.parent))
    return before is not None and before != markers.fingerprint(path)


def _work(settings: Settings, view: View, rounds: int | None) -> dict[str, Any]:
    from spkssl.io.atomic import write_text
    from spkssl.report.clusters import cluster_row, merged
    from spkssl.report.gating_tables import epoch_tables
    from spkssl.report.markdown import markdown
    from spkssl.report.page import page
    from spkssl.report.setting import as_typed, digests, marked_work
    from spkssl.report.tables import cost_table, trials_table

    if view.reference is None and view.labels:
        say("no true labels of the training set: pseudo labels without NMI")
    made = {row["at"]: row for row in view.clusters}
    rows = [
        merged(made.get(at, {}), {**stage_of(at), **cluster_row(path, view.reference)})
        for at, path in view.labels.items()
    ]
    training = {at: facts for at in view.order if (facts := view.training(at))}
    place = os.path.relpath(view.data, view.exp) if view.data is not None else None
    facts = {"training": training, "data": place, **_judged(view)}
    add_results(view.exp, rows, facts, table="clusters")
    view = view_of(settings, view.exp, view.data, rounds)
    first = _tables(view)
    last = [*epoch_tables(view), trials_table(view, digests(view)), cost_table(view, marked_work(view))]
    command = as_typed(sys.argv)
    write_text(view.exp / "RESULTS.md", markdown(view, [*first, *last], command))
    write_text(view.exp / "report.html", page(view, first, last, command))
    return {"rows": len(view.rows), "clusterings": len(rows)}
