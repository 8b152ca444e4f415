"""The embeddings that lists of trials need, each once: averages of enrolment models, utterances both sides share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spkssl.errors import complain, some
from spkssl.io.trials import Trials

Average = Literal["raw", "normalised"]
Rows = tuple[int, ...]


class Request(NamedTuple):
    """One list of trials over a set of embeddings."""

    trials: Trials
    models: Mapping[str, Sequence[str]] | None = None  # enrolment -> utterances; None: enrolments are utterances
    where: object = "trials"  # the file, for messages


class Sides(NamedTuple):
    """Rows of the pool; -1 where a name is in no trial and has no embedding."""

    enrol: NDArray[np.int64]  # (E,) of each enrolment name of the trials
    test: NDArray[np.int64]  # (T,) of each test name


@dataclass(frozen=True)
class Pool:
    names: list[str]  # of the rows: utterances, and models that average several
    x: NDArray[Any]  # (M, D)
    counts: NDArray[np.int64]  # (M,) utterances averaged
    members: list[Rows]  # rows of the source embeddings behind each row
    sides: list[Sides]  # one for each request


def make_pool(
    requests: Sequence[Request],
    keys: Sequence[str],
    x: NDArray[Any],
    average: Average = "raw",
    mean: NDArray[np.float64] | None = None,
) -> Pool:
    """Look up every name of the trials among `keys`, the names of the rows of `x`.

    `average`: "raw" averages the vectors as they are (Kaldi ivector-mean, wespeaker); "normalised" averages the unit
    vectors of x - mean, which is a different system.
    """
    row_of = {key: row for row, key in enumerate(keys)}
    place: dict[Rows, int] = {}
    names: list[str] = []
    sides = []
    for request in requests:
        trials, pair = request.trials, []
        for labels, index, models in (
            (trials.enrol_names, trials.enrol, request.models),
            (trials.test_names, trials.test, None),
        ):
            used = np.bincount(index, minlength=len(labels)) > 0
            found = [
                _members(name, models, row_of, request.where) if use else ()
                for name, use in zip(labels, used, strict=True)
            ]
            _require_found(labels, index, used, found, request.where)
            for name, rows in zip(labels, found, strict=True):
                if rows and rows not in place:
                    place[rows] = len(place)
                    names.append(name)
            pair.append(np.array([place.get(rows, -1) for rows in found], np.int64))
        sides.append(Sides(*pair))
    members = list(place)
    counts = np.array([len(rows) for rows in members], np.int64)
    return Pool(names, averages(x, members, average, mean), counts, members, sides)


def averages(
    x: NDArray[Any], members: Sequence[Rows], average: Average = "raw", mean: NDArray[np.float64] | None = None
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


def _members(name: str, models: Mapping[str, Sequence[str]] | None, row_of: Mapping[str, int], where: object) -> Rows:
    if models is None:
        return (row_of[name],) if name in row_of else ()
    missing = [utt for utt in models.get(name, ()) if utt not in row_of]
    if missing:
        raise complain(where, f"enrolment {name} needs {some(missing)}, of which there is no embedding", "extract them")
    return tuple(row_of[utt] for utt in models.get(name, ()))


def _require_found(
    names: Sequence[str], index: NDArray[Any], used: NDArray[np.bool_], found: Sequence[Rows], where: object
) -> None:
    absent = np.array([not rows for rows in found]) & used
    if absent.any():
        line = int(np.argmax(absent[index])) + 1  # a list of trials has no empty lines
        missing = some(name for name, gone in zip(names, absent, strict=True) if gone)
        raise complain(f"{where}:{line}", f"there is no embedding of {missing}", "extract what is missing")
