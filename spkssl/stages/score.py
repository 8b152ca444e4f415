"""Stage 7: embeddings and trials -> scores, EER, minDCF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from spkssl.backend import BACKENDS
from spkssl.backend.sources import Sources, TrialSet
from spkssl.errors import InputError, choose, complain
from spkssl.io import markers
from spkssl.stages import run_folder
from spkssl.stages.results import read_results
from spkssl.stages.settings import Settings, settings_options
from spkssl.stages.stage import DIRECTORY, FILE, Run, made_by, marker, once, require, run_options, say

_DEFAULT = ("cosine", "asnorm", "plda")  # ScoreConfig.backends, known here without loading it


@click.command()
@settings_options
@run_options
@click.option("--exp", type=DIRECTORY, help="The run's folder.")
@click.option("--data", type=DIRECTORY, help="The folder of the data directories.")
@click.option("--sets", help="Sets to score, comma separated (default: all with a folder trials/).")
@click.option("--rounds", type=click.IntRange(0), default=0, help="Rounds of retraining that there must be.")
@click.option("--at", help="Score these only: pretrain, round<r>, ..., comma separated (default: all there are).")
@click.option("--backend", help="Back-ends, comma separated: cosine, asnorm, snorm, plda (default: the YAML's).")
@click.option("--emb", type=FILE, help="Without --exp: scp of the embeddings to score.")
@click.option("--trials", type=FILE, multiple=True, help="List of trials; <list>.enroll beside it maps models.")
@click.option("--dev-emb", type=FILE, help="scp of the embeddings of calibration trials.")
@click.option("--dev-trials", type=FILE, multiple=True, help="List of trials to calibrate on.")
@click.option("--train-emb", type=FILE, help="scp of the embeddings that back-ends are fitted on.")
@click.option("--labels", type=FILE, help="utt2cluster of the training embeddings.")
@click.option("--mean-emb", type=FILE, help="scp whose mean is subtracted instead of the training embeddings'.")
@click.option("--adapt-emb", type=FILE, help="scp of unlabelled embeddings to adapt PLDA to.")
@click.option("--kaldi-model", type=DIRECTORY, help="Folder of Kaldi's mean.vec, transform.mat, plda to use.")
@click.option("--durations", type=FILE, help="utt2dur of what is scored, for quality measures.")
@click.option("--speakers", type=FILE, help="utt2spk of what is scored, for confidence intervals.")
@click.option("--out", type=DIRECTORY, help="Without --exp: where scores and results.json go.")
def score(settings: Settings, run: Run, backend: str | None, **given: Any) -> None:
    """Stage 7: embeddings and trials -> scores, EER, minDCF, Cllr.

    Of a run: `spkssl score --exp exp/dino --data data --rounds 2`. Of any files: `spkssl score --emb xvector.scp
    --trials list --train-emb train.scp --labels utt2cluster --out scores`.
    """
    section, names = settings.section("score"), backends_of(settings, backend)
    try:
        exp, places = _of_run(settings, given) if given["exp"] else _of_files(section.get("calibrate") or "dev", given)
    except InputError as error:
        if not run.dry_run:
            raise
        say(f"score: would run, but: {error}")
        return
    for at, sources in places.items():
        for name in names:
            lacking = _lacking(section.get(name) or {}, name, sources) if at else ""
            if lacking:
                say(f"score {at} {name}: left out, there are no {lacking} of the training set")
            else:
                _score(settings, run, exp, at, sources, name)
    if not run.dry_run:
        from spkssl.stages.score_results import show

        show(exp, list(places), names)


def backends_of(settings: Settings, backend: str | None) -> list[str]:
    """The names in --backend, or else the YAML's; an InputError where one is unknown."""
    names = list(backend.split(",") if backend else settings.section("score").get("backends", _DEFAULT))
    for name in names:
        choose("--backend", name, BACKENDS)
    return names


def _score(settings: Settings, run: Run, exp: Path, at: str, sources: Sources, name: str) -> None:
    """Each back-end is work of its own, so that trying another one does not undo those that are done."""
    section = settings.section("score")
    common = {key: value for key, value in section.items() if key != "backends" and key not in BACKENDS}
    folder = exp / at / "scores"
    made = [path for each in sources.sets for path in made_by(exp, "extract", at, each.name)]

    def check() -> None:
        from spkssl.stages.score_results import typed_section

        typed_section(settings)

    def work() -> dict[str, Any]:
        from spkssl.stages.score_results import score_place

        return score_place(settings, exp, at, sources, name, folder)

    mark = marker(exp, "score", *filter(None, [at]), name)
    if markers.read(mark).get("scored") and not any(
        row["at"] == at and row["backend"] == name for row in read_results(exp)["results"]
    ):
        run = replace(run, force=True)  # somebody took results.json away: its rows are made again

    once(
        run,
        f"score {at} {name}".replace("  ", " "),
        mark,
        settings={"score": {**common, name: section.get(name)}, "seed": settings.seed},
        inputs=[*sources.files(), *made, *made_by(exp, "cluster", at)],
        outputs=[folder / name / f"{path.name}.scores" for each in sources.sets for path in each.lists],
        work=work,
        check=check,
        log=exp / at / "log" / f"score.{name}.log",
    )


def _lacking(section: dict[str, Any], name: str, sources: Sources) -> str:
    """What this encoder does not have and the back-end cannot do without; cosine can do without a mean."""
    if name == "cosine" or (name == "plda" and sources.kaldi is not None):
        return ""
    if sources.train is None:
        return "embeddings"
    with_labels = name == "plda" or section.get("cohort", "centres") == "centres"
    return "labels" if with_labels and sources.labels is None else ""


def _of_files(dev: str, given: dict[str, Any]) -> tuple[Path, dict[str, Sources]]:
    absent = [f"--{name}" for name in ("emb", "trials", "out") if not given[name]]
    if absent:
        what = f"missing {', '.join(absent)}"
        raise complain("spkssl score", what, "give --exp and --data, or --emb, --trials and --out")
    sets = [TrialSet("eval", given["emb"], given["trials"], given["durations"], given["speakers"])]
    if bool(given["dev_emb"]) != bool(given["dev_trials"]):
        raise complain("spkssl score", "--dev-emb and --dev-trials go together")
    if given["dev_emb"]:
        sets.append(TrialSet(dev, given["dev_emb"], given["dev_trials"], given["durations"], given["speakers"]))
    sources = Sources(
        tuple(sets), given["train_emb"], given["labels"], given["mean_emb"], given["adapt_emb"], given["kaldi_model"]
    )
    require([path for path in sources.files() if path is not None], "check the paths")
    return given["out"], {"": sources}


def _of_run(settings: Settings, given: dict[str, Any]) -> tuple[Path, dict[str, Sources]]:
    exp, data = given["exp"], given["data"]
    if data is None:
        raise complain("spkssl score", "--exp needs --data", "name the folder of the data directories")
    names = given["sets"].split(",") if given["sets"] else sorted(path.parent.name for path in data.glob("*/trials"))
    lists = {name: _lists(data / name) for name in names}
    if not lists:
        raise complain(data, "no set has a folder trials/", "run stage 1 (prepare), or name another --data")
    twice = _repeated(path.name for paths in lists.values() for path in paths)
    if twice:
        raise complain(data, f"two sets have a list of trials called {twice}", "score them apart, with --sets")
    if given["at"]:
        ats = given["at"].split(",")
    else:
        ats = _there(exp, given["rounds"])
    places = {}
    for at in ats:
        sets = [_set(exp, at, data, name, paths) for name, paths in lists.items()]
        require([each.scp for each in sets], "run stage 4 (extract) first, or name the --sets to score")
        train = run_folder.embeddings_of(exp, at, settings.section("data").get("train", "train"))
        labels = run_folder.labels_of(exp, at)
        found = [path if path.exists() else None for path in (train, labels)]
        places[at] = Sources(tuple(sets), *found, given["mean_emb"], given["adapt_emb"], given["kaldi_model"])
    return exp, places


def _there(exp: Path, rounds: int) -> list[str]:
    """What there must be and what else there is. Without rounds it may be the supervised reference alone."""
    order = run_folder.order(rounds)
    embedded = {at for at in order if (exp / at / "emb").is_dir()}
    asked = {run_folder.PRETRAIN, *(run_folder.round_name(r + 1) for r in range(rounds))}
    if not rounds and embedded and not run_folder.encoder_of(exp, run_folder.PRETRAIN).exists():
        asked = set()
    return [at for at in order if at in asked or at in embedded]


def _set(exp: Path, at: str, data: Path, name: str, lists: tuple[Path, ...]) -> TrialSet:
    durations, speakers = data / name / "utt2dur", data / name / "utt2spk"
    return TrialSet(
        name,
        run_folder.embeddings_of(exp, at, name),
        lists,
        durations if durations.exists() else None,
        next((path for path in (data / name / "ref" / "utt2spk", speakers) if path.exists()), None),
    )


def _lists(folder: Path) -> tuple[Path, ...]:
    found = sorted(path for path in folder.glob("trials/*") if path.is_file() and path.suffix != ".enroll")
    if not found:
        raise complain(folder / "trials", "has no list of trials", "run stage 1 (prepare)")
    return tuple(path for path in found if not path.name.startswith("."))


def _repeated(names: Iterator[str]) -> str:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), "")
