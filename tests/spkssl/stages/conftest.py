"""Run folders as stages 1 to 7 leave them, made up in a moment: for what reads whole runs."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from spkssl.io.atomic import write_json, write_text
from spkssl.io.scores import write_scores
from spkssl.io.tables import write_table
from spkssl.io.trials import Trials, write_trials
from spkssl.metrics.summary import summary
from spkssl.stages.results import add_results, stage_of

SPEAKERS, UTTS = 12, 4


def _trials(data: Path) -> Trials:
    """All pairs of the utterances of the test set."""
    names = [f"s{s:02d}-u{u}" for s in range(SPEAKERS) for u in range(UTTS)]
    enrol, test = np.triu_indices(len(names), 1)
    trials = Trials(names, names, enrol.astype(np.int32), test.astype(np.int32), enrol // UTTS == test // UTTS)
    write_trials(data / "test" / "trials" / "easy", trials)
    write_table(data / "test" / "ref" / "utt2spk", {name: name[:3] for name in names})
    train = [f"t{s:02d}-u{u}" for s in range(10) for u in range(8)]
    write_table(data / "train" / "utt2spk", {name: name for name in train})
    write_table(data / "train" / "ref" / "utt2spk", {name: name[:3] for name in train})
    return trials


def _scored(exp: Path, trials: Trials, at: str, backend: str, gap: float, rng: np.random.Generator, llr: bool) -> None:
    """Scores of two normal humps, `gap` apart, and their row."""
    scores = (rng.normal(size=len(trials)) + gap * trials.target).astype(np.float32)
    write_scores(exp / at / "scores" / backend / "easy.scores", trials, scores)
    found = summary(scores, trials.target)
    row = {
        **stage_of(at),
        "backend": backend,
        "trials": "easy",
        "labels_used": "true" if at == "supervised" else "pseudo" if backend != "cosine" or at[0] == "r" else "none",
        "seconds": 0.1,
        "n_target": found.n_target,
        "n_nontarget": found.n_nontarget,
        "eer": 100 * found.eer.rate,
        "eer_ci": [100 * found.eer.rate - 3, 100 * found.eer.rate + 3],
        "min_dcf": {f"{p:g}": point.cost for p, point in found.min_dcf.items()},
        "act_dcf": None,
        "cllr": found.cllr if llr else None,
        "min_cllr": found.min_cllr,
        "calibrated": False,
    }
    add_results(exp, [row])


def _clustered(exp: Path, data: Path, at: str, wrong: int, rng: np.random.Generator) -> None:
    """Pseudo labels with so many utterances in a cluster that is not theirs, and two that are left out."""
    truth = [line.split() for line in (data / "train" / "utt2spk").read_text().splitlines()]
    labels = np.array([int(utt[1:3]) for utt, _ in truth])
    labels[rng.permutation(len(labels))[:wrong]] = rng.integers(10, size=wrong)
    labels[-2:] = -1
    table = {utt: k for (utt, _), k in zip(truth, labels.tolist(), strict=True)}
    write_table(exp / at / "labels" / "utt2cluster", table)
    write_json(exp / at / "labels" / "info.json", {"algorithm": {"name": "kmeans"}, "quality": {"silhouette": 0.31}})


def _trained(exp: Path, at: str) -> None:
    lines = [
        {"step": step, "epoch": 0, "lr": 0.01, "loss": 5 - step / 50, "embed_std": step / 100, "entropy": 0.9}
        for step in range(10, 110, 10)
    ]
    write_text(exp / at / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    name = at if at == "pretrain" else f"retrain.{at}"
    write_json(exp / ".done" / f"{name}.json", {"hash": at, "seconds": 12.5, "peak_mb": 300, "steps": 100})


def _make(
    root: Path, name: str = "dino", system: str = "dino", seed: int = 0, better: float = 0.0, rounds: int = 1
) -> Path:
    exp, rng = root / "exp" / name, np.random.default_rng([seed, len(system)])
    trials = _trials(root / "data")
    gaps = {"untrained": 0.3, "pretrain": 1.5, **{f"round{r + 1}": 2.0 + r / 2 for r in range(rounds)}, "supervised": 3}
    for at, gap in gaps.items():
        for backend in ("cosine", "plda") if at == "pretrain" or at[0] == "r" else ("cosine",):
            _scored(exp, trials, at, backend, gap + better, rng, backend == "plda")
        if at != "untrained":
            _trained(exp, at)
        if at == "pretrain" or at[0] == "r":
            _clustered(exp, root / "data", at, 30 if at == "pretrain" else 10, rng)
    add_results(exp, [], {"system": system, "seed": seed})
    health = {"embed_std": 0.2, "embed_cos": 0.9, "entropy": 0.3}
    loop = {"loop": {"health": health}}
    write_json(exp / "config.yaml", {"system": system, "seed": seed, "pretrain": loop, "retrain": loop})
    run = {
        "argv": ["spkssl", "pretrain", "--exp", "exp/a b"],
        "time": "2000-01-01T00:00:00+0000",
        "commit": "abc123",
        "version": "0.1",
        "python": "3.11",
        "packages": {"numpy": "2.0", "torch": "2.11"},
        "host": {"system": "Linux", "cpus": 2},
        "inputs": {},
    }
    write_json(exp / "provenance.json", {"runs": [run, run]})
    return exp


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """make(name, system, seed, better, rounds): the run's folder; the data directories are tmp_path / "data"."""
    return partial(_make, tmp_path)


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two rounds, for tests that only look."""
    return _make(tmp_path_factory.mktemp("shared"), rounds=2)
