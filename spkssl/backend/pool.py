"""The embeddings a list of trials needs, each once: averages of enrolment models, and utterances both sides share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spkssl.errors import complain, some
from spkssl.io.trials import Trials

Average = Literal["raw", "normalised"]


@dataclass(frozen=True)
class Pool:
    names: list[str]  # of the rows: utterances, and models that average several
    x: NDArray[Any]  # (M, D)
    counts: NDArray[np.int64]  # (M,) utterances averaged
    members: list[tuple[int, ...]]  # rows of the source embeddings behind each row
    enrol: NDArray[np.int64]  # (E,) row of each enrolment name of the trials
    test: NDArray[np.int64]  # (T,) row of each test name


def make_pool(
    trials: Trials,
    keys: Sequence[str],
    x: NDArray[Any],
    models: Mapping[str, Sequence[str]] | None = None,
    *,
    average: Average = "raw",
    mean: NDArray[np.float64] | None = None,
    where: object = "trials",
) -> Pool:
    """Look up every name of the trials among `keys` (and `models`, where enrolments are lists of utterances).

    `average`: "raw" averages the vectors as they are (Kaldi ivector-mean, wespeaker); "normalised" averages the unit
    vectors of x - mean, which is a different system. `where`: the trials' file, for messages.
    """
    row_of = {key: row for row, key in enumerate(keys)}
    used_enrol = np.bincount(trials.enrol, minlength=len(trials.enrol_names)) > 0
    used_test = np.bincount(trials.test, minlength=len(trials.test_names)) > 0
    if models is not None:
        enrol = [_members(name, models, row_of, used, where) for name, used in zip(trials.enrol_names, used_enrol, strict=True)]
    else:
        enrol = [(row_of[name],) if name in row_of else () for name in trials.enrol_names]
    test = [(row_of[name],) if name in row_of else () for name in trials.test_names]
    _require_found(trials.enrol_names, trials.enrol, used_enrol, enrol, where)
    _require_found(trials.test_names, trials.test, used_test, test, where)
    place: dict[tuple[int, ...], int] = {}
    enrol_rows = np.array([place.setdefault(rows, len(place)) if rows else -1 for rows in enrol], np.int64)
    test_rows = np.array([place.setdefault(rows, len(place)) if rows else -1 for rows in test], np.int64)
    names = [""] * len(place)
    for labels, rows in ((trials.test_names, test_rows), (trials.enrol_names, enrol_rows)):
        for name, row in zip(labels, rows.tolist(), strict=True):
            if row >= 0:
                names[row] = name
    members = list(place)
    counts = np.array([len(rows) for rows in members], np.int64)
    return Pool(names, averages(x, members, average, mean), counts, members, enrol_rows, test_rows)


def averages(
    x: NDArray[Any], members: Sequence[tuple[int, ...]], average: Average = "raw", mean: NDArray[np.float64] | None = None
) -> NDArray[Any]:
    """Mean vector of each group of rows, in the type of `x`: (M, D)."""
    out = x[np.fromiter((rows[0] for rows in members), np.int64, len(members))]
    for row, group in enumerate(members):
        if len(group) > 1:
            vectors = x[list(group)].astype(np.float64)
            out[row] = vectors.mean(axis=0) if average == "raw" else _mean_direction(vectors, mean)
    return out


def _mean_direction(vectors: NDArray[np.float64], mean: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Average of unit vectors, put back on the mean because the back-end will subtract it again."""
    centre = np.zeros(vectors.shape[1]) if mean is None else mean
    offsets = vectors - centre
    norms = np.linalg.norm(offsets, axis=1, keepdims=True)
    if (norms == 0).any():
        raise complain("enrolment", "an embedding is zero after mean subtraction, so has no direction to average")
    return centre + (offsets / norms).mean(axis=0)


def _members(
    name: str, models: Mapping[str, Sequence[str]], row_of: Mapping[str, int], used: bool, where: object
) -> tuple[int, ...]:
    if name not in models:
        return ()
    missing = [utt for utt in models[name] if utt not in row_of]
    if missing and used:
        raise complain(where, f"enrolment {name} needs {some(missing)}, of which there is no embedding", "extract them")
    return tuple(row_of[utt] for utt in models[name] if utt in row_of)


def _require_found(
    names: Sequence[str], index: NDArray[Any], used: NDArray[np.bool_], found: Sequence[tuple[int, ...]], where: object
) -> None:
    absent = np.array([not rows for rows in found]) & used
    if absent.any():
        line = int(np.argmax(absent[index])) + 1  # a trials file has no empty lines
        missing = some(name for name, gone in zip(names, absent, strict=True) if gone)
        raise complain(f"{where}:{line}", f"there is no embedding of {missing}", "extract what is missing")
