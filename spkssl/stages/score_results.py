"""What the stage `score` does once there is work: score files, rows of results.json, the table on screen."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from spkssl import config, rng
from spkssl.backend.scoring import ScoreConfig, Scored, score_lists
from spkssl.backend.sources import Sources, enrolment_of
from spkssl.io.scores import write_scores
from spkssl.io.speakers import trial_speakers
from spkssl.metrics.bootstrap import bootstrap_eer
from spkssl.metrics.cllr import cllr, min_cllr
from spkssl.metrics.dcf import act_dcf
from spkssl.metrics.summary import summary
from spkssl.stages.results import add_results, read_results, stage_of
from spkssl.stages.run_folder import SUPERVISED
from spkssl.stages.settings import Settings
from spkssl.stages.stage import say

_COLUMNS = ("encoder", "back-end", "trials", "target", "nontarget", "EER %", "95 %")


def typed_section(settings: Settings) -> ScoreConfig:
    return config.build(ScoreConfig, settings.section("score"), f"{settings.source}: score")


def score_place(settings: Settings, exp: Path, at: str, sources: Sources, name: str, folder: Path) -> dict[str, Any]:
    """Score every list by one back-end; files `<folder>/<back-end>/<list>.scores`, rows in `<exp>/results.json`."""
    typed = typed_section(settings)
    if at and name == "cosine" and typed.cosine.subtract_mean and sources.train is None and sources.mean is None:
        say("no embeddings of the training set: cosine without mean subtraction")
        typed = replace(typed, cosine=replace(typed.cosine, subtract_mean=False))
    rows = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for scored in score_lists(sources, [name], typed, settings.seed, folder / "models"):
            stem = f"{scored.list.name}.scores"
            write_scores(folder / name / stem, scored.trials, scored.scores)
            if scored.llrs is not None:
                write_scores(folder / f"{name}_calibrated" / stem, scored.trials, scored.llrs)
            rows += [{**stage_of(at), **row} for row in rows_of(scored, typed, at, settings.seed)]
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        say(f"warning: {text}")
    system = settings.tree.get("system")
    add_results(exp, rows, {**({"system": system} if system else {}), "seed": settings.seed})
    return {"scored": len(rows)}


def rows_of(scored: Scored, typed: ScoreConfig, at: str, seed: int) -> list[dict[str, Any]]:
    """The row of results.json, and one more for scores that quality measures have changed; none without labels."""
    if scored.trials.target is None:
        say(f"{scored.list}: no labels, so no error rate")
        return []
    pseudo = scored.labels_used or at.startswith("round")
    base = {
        "backend": scored.backend,
        "trials": scored.list.name,
        "labels_used": "true" if at == SUPERVISED else "pseudo" if pseudo else "none",
        "seconds": scored.seconds,
    }
    likelihoods = scored.llrs if scored.llrs is not None or scored.backend != "plda" else scored.scores
    rows = [{**base, **_measures(scored, scored.scores, likelihoods, typed, seed)}]
    if typed.quality and scored.llrs is not None:
        base["backend"] += "+quality"
        rows.append({**base, **_measures(scored, scored.llrs, scored.llrs, typed, seed)})
    return rows


def show(exp: Path, ats: list[str], names: list[str]) -> None:
    """The table of these encoders and back-ends, as it stands in results.json."""
    found = [
        row
        for at in ats
        for name in names
        for row in read_results(exp)["results"]
        if row["at"] == at and row["backend"].removesuffix("+quality") == name
    ]
    points = list(dict.fromkeys(p for row in found for p in row["min_dcf"]))
    table = [[*_COLUMNS, *(f"minDCF({p})" for p in points), "Cllr", "minCllr"]]
    for row in found:
        interval = "{:.2f}-{:.2f}".format(*row["eer_ci"]) if row["eer_ci"] else "-"
        counts = [str(row["n_target"]), str(row["n_nontarget"])]
        costs = [f"{row['min_dcf'][p]:.4f}" if p in row["min_dcf"] else "-" for p in points]
        cost = "-" if row["cllr"] is None else f"{row['cllr']:.4f}"
        label = [row["at"] or "-", row["backend"], row["trials"]]
        table.append([*label, *counts, f"{row['eer']:.3f}", interval, *costs, cost, f"{row['min_cllr']:.4f}"])
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table if found else []:
        left = [cell.ljust(width) for cell, width in zip(line[:3], widths[:3], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(line[3:], widths[3:], strict=True)]
        say("  ".join([*left, *right]))


def _measures(scored: Scored, scores: Any, likelihoods: Any, typed: ScoreConfig, seed: int) -> dict[str, Any]:
    """EER in percent, minDCF; actDCF and Cllr only of log-likelihood ratios."""
    target = scored.trials.target
    found = summary(scores, target, p_targets=typed.p_targets, definition=typed.eer)
    actual = None
    if likelihoods is not None:
        actual = {f"{p:g}": act_dcf(likelihoods, target, p_target=p).cost for p in typed.p_targets}
    return {
        "n_target": found.n_target,
        "n_nontarget": found.n_nontarget,
        "eer": 100 * found.eer.rate,
        "eer_ci": _interval(scored, scores, typed.bootstrap, seed),
        "min_dcf": {f"{p:g}": point.cost for p, point in found.min_dcf.items()},
        "act_dcf": actual,
        "cllr": None if likelihoods is None else cllr(likelihoods, target),
        "min_cllr": min_cllr(scores, target),
        "calibrated": scored.llrs is not None,
    }


def _interval(scored: Scored, scores: Any, replicates: int, seed: int) -> list[float] | None:
    """95 % of the EER in percent over speakers; None where they are not known."""
    if not replicates or scored.set.speakers is None:
        return None
    found = trial_speakers(scored.trials, enrolment_of(scored.list), scored.set.speakers)
    if found is None:
        return None
    draws = rng.numpy(seed, "bootstrap", scored.list.name)
    interval = bootstrap_eer(scores, scored.trials.target, *found, draws, n=replicates)
    return [100 * interval.low, 100 * interval.high]
