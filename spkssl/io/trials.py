"""Verification trials: which enrolment is compared with which test, and whether they are the same speaker."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spkssl.errors import complain, some
from spkssl.io.atomic import open_atomic
from spkssl.io.columns import Block, Names, first_line, malformed, read_blocks
from spkssl.io.tables import read_lists

LABELS = {b"target": True, b"nontarget": False}
_VOXCELEB = {b"1": True, b"0": False}
_LINES = 1 << 17  # written at once


@dataclass(frozen=True, eq=False)
class Trials:
    """N trials. `enrol` and `test` are rows of the two name lists; `target` says same speaker, None if unknown."""

    enrol_names: list[str]
    test_names: list[str]
    enrol: NDArray[np.int32]  # (N,)
    test: NDArray[np.int32]  # (N,)
    target: NDArray[np.bool_] | None  # (N,)

    def __len__(self) -> int:
        return len(self.enrol)

    def name(self, row: int) -> str:
        return f"{self.enrol_names[self.enrol[row]]} {self.test_names[self.test[row]]}"

    def take(self, rows: NDArray | slice) -> "Trials":
        """The chosen trials, by mask, index or slice; the name lists stay whole."""
        target = None if self.target is None else self.target[rows]
        return replace(self, enrol=self.enrol[rows], test=self.test[rows], target=target)


def read_trials(path: str | Path) -> Trials:
    """Kaldi's `enrol test target|nontarget`, VoxCeleb's `1|0 enrol test`, or `enrol test` without labels."""
    head = first_line(path)
    if len(head) == 3 and head[0] in _VOXCELEB and head[2] not in LABELS:
        layout, labels, order = "1|0 enrol test", _VOXCELEB, (1, 2, 0)
    elif len(head) == 2:
        layout, labels, order = "enrol test", {}, (0, 1)
    else:
        layout, labels, order = "enrol test target|nontarget", LABELS, (0, 1, 2)
    enrol_names, test_names, parts = Names(), Names(), []
    for block in read_blocks(path, len(head) if len(head) == 2 else 3, layout):
        columns = [block.columns[column] for column in order]
        target = read_labels(path, block, columns[2], labels, layout) if labels else None
        parts.append((number(enrol_names, columns[0]), number(test_names, columns[1]), target))
    enrol, test, target = zip(*parts)
    return Trials(
        enrol_names.decoded(path),
        test_names.decoded(path),
        np.concatenate(enrol),
        np.concatenate(test),
        np.concatenate(target) if labels else None,
    )


def write_trials(path: str | Path, trials: Trials) -> None:
    """Kaldi's form, in the order of the trials; without labels `enrol test`."""
    with open_atomic(path) as file:
        for pairs, labels, _ in text_blocks(trials):
            endings = [""] * len(pairs) if labels is None else labels
            file.write("".join([f"{pair}{ending}\n" for pair, ending in zip(pairs, endings)]))


def read_enrol_map(path: str | Path) -> dict[str, list[str]]:
    """Model -> its enrolment utterances, from lines `model utt utt ...`."""
    models = read_lists(path)
    if not models:
        raise complain(path, "is empty (expected lines `model utt utt ...`)")
    return models


def resolve(
    trials: Trials, enrol: Sequence[str], test: Sequence[str], where: object, allow_missing: bool = False
) -> tuple[Trials, int]:
    """The trials as rows of the given keys, and how many were dropped because a key is missing.

    A missing key is an InputError unless `allow_missing`.
    """
    enrol_row, missing = _rows_of(trials.enrol_names, trials.enrol, enrol)
    test_row, missing_test = _rows_of(trials.test_names, trials.test, test)
    absent = [*missing, *(name for name in missing_test if name not in set(missing))]
    kept = (enrol_row >= 0) & (test_row >= 0)
    dropped = int(len(kept) - kept.sum())
    if dropped and not allow_missing:
        what = f"{dropped} of {len(kept)} trials cannot be scored, there is no entry for {some(absent)}"
        raise complain(where, what, "extract what is missing, or give --allow-missing to skip these trials")
    if not kept.any():
        raise complain(where, "no trial can be scored", "check that trials and embeddings are of the same set")
    target = None if trials.target is None else trials.target[kept]
    return Trials(list(enrol), list(test), enrol_row[kept], test_row[kept], target), dropped


def number(names: Names, keys: list[bytes]) -> NDArray[np.int32]:
    return np.fromiter(map(names.__getitem__, keys), np.int32, len(keys))


def read_labels(path: str | Path, block: Block, words: list[bytes], labels: dict, layout: str) -> NDArray[np.bool_]:
    try:
        return np.fromiter(map(labels.__getitem__, words), np.bool_, len(words))
    except KeyError:
        row = next(row for row, word in enumerate(words) if word not in labels)
        raise malformed(path, block.line + row, [column[row] for column in block.columns], layout) from None


def text_blocks(trials: Trials) -> Iterator[tuple[list[str], list[str] | None, slice]]:
    """`enrol test` texts, ` target` / ` nontarget` endings or None, and which trials these are."""
    for start in range(0, len(trials), _LINES):
        rows = slice(start, start + _LINES)
        enrol = map(trials.enrol_names.__getitem__, trials.enrol[rows].tolist())
        test = map(trials.test_names.__getitem__, trials.test[rows].tolist())
        labels = None
        if trials.target is not None:
            labels = [" target" if same else " nontarget" for same in trials.target[rows].tolist()]
        yield [f"{left} {right}" for left, right in zip(enrol, test)], labels, rows


def _rows_of(names: list[str], index: NDArray, keys: Sequence[str]) -> tuple[NDArray[np.int32], list[str]]:
    """For each trial the row of its name among the keys or -1, and the names that are absent and used."""
    row_of = {key: row for row, key in enumerate(keys)}
    rows = np.fromiter((row_of.get(name, -1) for name in names), np.int32, len(names))
    used = np.bincount(index, minlength=len(names)) > 0
    return rows[index], [name for name, row, use in zip(names, rows, used) if row < 0 and use]
