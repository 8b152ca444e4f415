"""Cases of metrics: error rates of scores in memory and in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spkssl import rng
from spkssl.bench.case import Case, Facts, Target, Work, sized
from spkssl.io.scores import read_scores, write_scores
from spkssl.io.trials import Trials
from spkssl.metrics.dcf import min_dcf
from spkssl.metrics.eer import eer
from spkssl.metrics.staircase import order

_TRIALS = 10_000_000
_NAMES = 5_000  # about VoxCeleb1-O's 4,708 files
_TARGETS = 0.1  # share of the trials


def _draw(small: bool) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    stream, count = rng.numpy(0, "bench", "scores"), sized(_TRIALS, small)
    target = stream.random(count) < _TARGETS
    scores = stream.standard_normal(count)
    scores += 2.5 * target  # an EER of about 10 %
    return scores, target


def _write_arrays(folder: Path, small: bool) -> None:
    scores, target = _draw(small)
    np.save(folder / "scores.npy", scores)
    np.save(folder / "target.npy", target)


def _write_file(folder: Path, small: bool) -> None:
    scores, target = _draw(small)
    stream, names = rng.numpy(0, "bench", "trials"), [f"id{n:05d}-utterance-{n:05d}" for n in range(_NAMES)]
    enrol, test = (stream.integers(_NAMES, size=len(scores), dtype=np.int32) for _ in range(2))
    write_scores(folder / "scores", Trials(names, names, enrol, test, target), scores)


def _memory(folder: Path, small: bool) -> Work:
    scores, target = np.load(folder / "scores.npy"), np.load(folder / "target.npy")

    def call() -> Facts:
        ordered = order(scores, target)
        return {"eer": eer(ordered).rate, "min_dcf": min_dcf(ordered).cost}

    return Work(call, len(scores), "scores")


def _roc_curve(folder: Path, small: bool) -> Work:
    from sklearn.metrics import roc_curve

    scores, target = np.load(folder / "scores.npy"), np.load(folder / "target.npy")

    def call() -> Facts:
        false_alarm, hit, _ = roc_curve(target, scores)
        miss = 1 - hit
        nearest = int(np.argmin(np.abs(miss - false_alarm)))
        cost = (0.01 * miss + 0.99 * false_alarm).min() / 0.01
        return {"eer": float(max(miss[nearest], false_alarm[nearest])), "min_dcf": float(cost)}

    return Work(call, len(scores), "scores")


def _file(folder: Path, small: bool) -> Work:
    def call() -> Facts:
        trials, scores = read_scores(folder / "scores")
        assert trials.target is not None, "the file was written with labels"
        ordered = order(scores, trials.target)
        return {"eer": eer(ordered).rate, "min_dcf": min_dcf(ordered).cost}

    return Work(call, sized(_TRIALS, small), "lines")


CASES = {
    "eer": Case(
        "EER and minDCF of 10 M scores in memory",
        _memory,
        _write_arrays,
        peers={"sklearn.roc_curve": _roc_curve},
        target=Target(seconds=2, peak_mb=1000),
        elsewhere={"sklearn": 3.0, "wespeaker": 3.2, "sslsv": 6.4},
    ),
    "eer_file": Case(
        "the same from a score file of 10 M lines",
        _file,
        _write_file,
        target=Target(seconds=10, peak_mb=1500),
        elsewhere={"wespeaker": 24},
    ),
}
