"""From files to scores: one place's embeddings, lists of trials and training embeddings, through several back-ends."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spkssl.backend import BACKENDS, asnorm, cosine, make_backend, plda, quality, snorm
from spkssl.backend.calibration import RIDGE, Calibration, fit_calibration
from spkssl.backend.cohort import require_disjoint
from spkssl.backend.kaldi_files import read_folder, write_folder
from spkssl.backend.pool import Average, Pool, Request, make_pool
from spkssl.backend.sources import Sources, TrialSet, enrolment_of
from spkssl.backend.vectors import RowError, blocks, magnitudes, mean_of
from spkssl.errors import choose, complain
from spkssl.io.ark import read_vectors
from spkssl.io.tables import read_table
from spkssl.io.trials import Trials, read_enrol_map, read_trials

_TRIALS = 1 << 18  # scored at a time


@dataclass(frozen=True)
class ScoreConfig:
    backends: tuple[str, ...] = ("cosine", "asnorm", "plda")
    cosine: cosine.Config = cosine.Config()
    asnorm: asnorm.Config = asnorm.Config()
    snorm: snorm.Config = snorm.Config()
    plda: plda.Config = plda.Config()
    average: Average = "raw"  # of several enrolment utterances; their concatenated audio is a matter of extraction
    calibrate: str = "dev"  # the set whose trials calibrate the others; "": none
    quality: tuple[Literal["duration", "norm"], ...] = ()  # measures that calibration uses next to the score
    calibration_prior: float = 0.5
    ridge: float = RIDGE
    eer: str = "staircase"  # definition, a name in spkssl.metrics.eer.EER
    p_targets: tuple[float, ...] = (0.01, 0.05)  # VoxCeleb's habit, VoxSRC's
    bootstrap: int = 200  # replicates of the confidence interval over speakers; 0: none


@dataclass(frozen=True)
class Scored:
    """The scores of one back-end on one list."""

    backend: str
    set: TrialSet
    list: Path
    trials: Trials
    scores: NDArray[np.float64]  # (P,)
    llrs: NDArray[np.float64] | None  # (P,) calibrated on another set
    seconds: float
    labels_used: bool


@dataclass
class _Loaded:
    set: TrialSet
    keys: list[str]
    pool: Pool
    trials: list[Trials]
    durations: NDArray[np.float64] | None  # (M,) of the pool's rows
    scores: dict[int, NDArray[np.float64]] = field(default_factory=dict)  # by number of the list


def needs(config: ScoreConfig, name: str) -> tuple[bool, bool]:
    """Whether the back-end is fitted on training embeddings, and on labels of them."""
    choose("back-end", name, BACKENDS)
    section = getattr(config, name)
    if name == "plda":
        return True, True
    if name == "cosine":
        return section.subtract_mean, False
    return True, section.cohort == "centres"


def score_lists(
    sources: Sources, names: Sequence[str], config: ScoreConfig, seed: int = 0, models: Path | None = None
) -> Iterator[Scored]:
    """Everything is read, checked and fitted before the first result comes.

    `models`: folder that gets the fitted back-ends, PLDA also in Kaldi's files.
    """
    train = _read_train(sources)
    loaded = [_load(trial_set, config, train) for trial_set in sources.sets]
    if train is not None and any(name in ("asnorm", "snorm") for name in names):
        for part in loaded:
            require_disjoint(train[0], (part.keys[r] for rows in part.pool.members for r in rows), sources.train)
    labels = _labels(sources, train)
    fitted = [(name, _fit(name, config, seed, sources, train, labels)) for name in names]
    for name, backend in fitted:
        yield from _score_backend(name, backend, loaded, config, needs(config, name)[1], models)


def _score_backend(
    name: str, backend: Any, loaded: list[_Loaded], config: ScoreConfig, labels_used: bool, models: Path | None
) -> Iterator[Scored]:
    seconds = _score_pairs(backend, loaded)
    calibration = _calibrate(loaded, config, backend.mean)
    if models is not None:
        _save(name, backend, calibration, models)
    for part in loaded:
        for number, trials in enumerate(part.trials):
            llrs = None
            if calibration is not None and part.set.name != config.calibrate:
                llrs = calibration(_features(part, number, config, backend.mean))
            took, path = round(seconds[part.set.name, number], 3), part.set.lists[number]
            yield Scored(name, part.set, path, trials, part.scores.pop(number), llrs, took, labels_used)


def _score_pairs(backend: Any, loaded: list[_Loaded]) -> dict[tuple[str, int], float]:
    """Fill in the scores of every list; seconds by set and number of the list."""
    seconds = {}
    for part in loaded:
        start = time.perf_counter()
        side = _project(backend, part)
        shared = time.perf_counter() - start
        for number, (trials, sides) in enumerate(zip(part.trials, part.pool.sides, strict=True)):
            start = time.perf_counter()
            scores = np.empty(len(trials))
            for rows in blocks(len(trials), _TRIALS):
                i, j = sides.enrol[trials.enrol[rows]], sides.test[trials.test[rows]]
                scores[rows] = backend.pairs(side, side, i, j)
            part.scores[number] = scores
            seconds[part.set.name, number] = shared + time.perf_counter() - start
            shared = 0.0  # the first list pays for the embeddings
    return seconds


def _save(name: str, backend: Any, calibration: Calibration | None, models: Path) -> None:
    backend.save(models / f"{name}.npz")
    if name == "plda":
        write_folder(models / "kaldi", backend.mean, backend.affine, backend.model)
    if calibration is not None:
        calibration.save(models / f"{name}.calibration.json")


def _read_train(sources: Sources) -> tuple[list[str], NDArray[np.float32]] | None:
    return read_vectors(sources.train) if sources.train is not None else None


def _labels(sources: Sources, train: tuple[list[str], Any] | None) -> NDArray[np.int64] | None:
    if sources.labels is None or train is None:
        return None
    return read_labels(sources.labels, train[0])


def read_labels(path: str | Path, keys: Sequence[str]) -> NDArray[np.int64]:
    """Class of each key, numbered from 0; -1 where the table says -1 or does not have the key."""
    table = read_table(path)
    found = [table.get(key, "-1") for key in keys]
    if all(label == "-1" for label in found):
        raise complain(path, "labels none of the training embeddings", "cluster the embeddings of the same set")
    number = {label: k for k, label in enumerate(sorted(set(found) - {"-1"}))}
    number["-1"] = -1
    return np.array([number[label] for label in found], np.int64)


def _load(trial_set: TrialSet, config: ScoreConfig, train: tuple[list[str], NDArray[Any]] | None) -> _Loaded:
    keys, x = read_vectors(trial_set.scp)
    requests = []
    for path in trial_set.lists:
        trials, enrolment = read_trials(path), enrolment_of(path)
        if trials.target is not None and (trials.target.all() or not trials.target.any()):
            kind = "target" if trials.target[0] else "nontarget"
            raise complain(path, f"all {len(trials)} trials are {kind}, so there is no error rate", "give both kinds")
        requests.append(Request(trials, read_enrol_map(enrolment) if enrolment.exists() else None, path))
    mean = mean_of(train[1]) if train is not None and config.average == "normalised" else None
    pool = make_pool(requests, keys, x, config.average, mean)
    durations = _durations(trial_set, keys, pool) if "duration" in config.quality else None
    return _Loaded(trial_set, keys, pool, [request.trials for request in requests], durations)


def _durations(trial_set: TrialSet, keys: Sequence[str], pool: Pool) -> NDArray[np.float64]:
    """Seconds behind each row of the pool; the utterances of a model add up."""
    if trial_set.durations is None:
        raise complain(trial_set.scp, "the quality measure duration needs utt2dur of this set", "give --durations")
    table = read_table(trial_set.durations)
    missing = [keys[row] for rows in pool.members for row in rows if keys[row] not in table]
    if missing:
        raise complain(trial_set.durations, f"has no duration of {missing[0]} ({len(missing)} missing)")
    return np.array([sum(float(table[keys[row]]) for row in rows) for rows in pool.members])


def _fit(name: str, config: ScoreConfig, seed: int, sources: Sources, train: Any, labels: Any) -> Any:
    section = getattr(config, name)
    backend = make_backend(name, replace(section, seed=seed) if hasattr(section, "seed") else section)
    if name == "plda" and sources.kaldi is not None:
        return backend.restore(*read_folder(sources.kaldi))
    with_train, with_labels = needs(config, name)
    mean = None if sources.mean is None else mean_of(read_vectors(sources.mean)[1])
    if train is None and with_train and (name != "cosine" or mean is None):
        raise complain(name, "needs training embeddings", "extract them, or give --train-emb")
    if with_labels and labels is None:
        raise complain(name, "needs labels of its training embeddings", "run stage 5 (cluster), or give --labels")
    # Cosine without training embeddings takes but the dimension from the ones it is to score.
    x = train[1] if train is not None else read_vectors(sources.sets[0].scp)[1]
    try:
        backend.fit(x, labels, mean)
    except RowError as error:
        raise complain(sources.train, f"embedding {error.row} {error.what}") from None
    if name == "plda" and sources.adapt is not None:
        backend.adapt(read_vectors(sources.adapt)[1])
    return backend


def _project(backend: Any, part: _Loaded) -> Any:
    try:
        return backend.project(part.pool.x, part.pool.counts)
    except RowError as error:
        raise complain(part.set.scp, f"{part.pool.names[error.row]} {error.what}") from None


def _calibrate(loaded: list[_Loaded], config: ScoreConfig, mean: Any) -> Calibration | None:
    """Fitted on all labelled lists of the calibration set together; None where there is no such set."""
    if not config.calibrate:
        return None
    features, targets = [], []
    for part in loaded:
        for number, trials in enumerate(part.trials):
            if part.set.name == config.calibrate and trials.target is not None:
                features.append(_features(part, number, config, mean))
                targets.append(trials.target)
    if not features or len(loaded) == 1:
        return None
    names = ("score", *(name for measure in config.quality for name in quality.measure_names(measure)))
    x, is_target = np.concatenate(features), np.concatenate(targets)
    return fit_calibration(x, is_target, names=names, prior=config.calibration_prior, ridge=config.ridge)


def _features(part: _Loaded, number: int, config: ScoreConfig, mean: Any) -> NDArray[np.float64]:
    """Score and quality measures of each trial: (P, F)."""
    trials, sides = part.trials[number], part.pool.sides[number]
    columns = [part.scores[number][:, None]]
    for measure in config.quality:
        values = part.durations if measure == "duration" else magnitudes(part.pool.x, mean)
        cap = quality.DURATION_CAP if measure == "duration" else None
        columns.append(quality.pair_measures(values[sides.enrol[trials.enrol]], values[sides.test[trials.test]], cap))
    return np.hstack(columns)
