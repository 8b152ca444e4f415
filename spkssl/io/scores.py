"""Score files: `enrol test score [target|nontarget]`, in the order of the trials."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spkssl.errors import complain
from spkssl.io.atomic import open_atomic
from spkssl.io.columns import Block, Names, first_line, malformed, read_blocks
from spkssl.io.trials import LABELS, Trials, number, read_labels, text_blocks


def write_scores(path: str | Path, trials: Trials, scores: NDArray) -> None:
    """Nine significant digits: a float32 comes back as it was, and no ties arise. Labels follow where known."""
    if scores.shape != (len(trials),):
        raise ValueError(f"one score per trial: got {scores.shape} for {len(trials)} trials")
    finite = np.isfinite(scores)
    if not finite.all():
        row = int(finite.argmin())
        what = f"the score of trial {trials.name(row)} is {scores[row]} ({(~finite).sum()} of {len(scores)} not finite)"
        raise complain(path, what, "check the embeddings of these utterances")
    with open_atomic(path) as file:
        for pairs, labels, rows in text_blocks(trials):
            endings = [""] * len(pairs) if labels is None else labels
            values = scores[rows].tolist()
            file.write("".join(["%s %.9g%s\n" % line for line in zip(pairs, values, endings)]))


def read_scores(path: str | Path) -> tuple[Trials, NDArray[np.float64]]:
    """The trials of a score file and their scores, finite."""
    width = len(first_line(path))
    if width not in (3, 4):
        raise malformed(path, 1, first_line(path), "enrol test score [target|nontarget]")
    layout = "enrol test score target|nontarget" if width == 4 else "enrol test score"
    enrol_names, test_names, parts = Names(), Names(), []
    for block in read_blocks(path, width, layout):
        target = read_labels(path, block, block.columns[3], LABELS, layout) if width == 4 else None
        enrol, test = number(enrol_names, block.columns[0]), number(test_names, block.columns[1])
        parts.append((enrol, test, _read_values(path, block, layout), target))
    enrol, test, values, target = zip(*parts)
    trials = Trials(
        enrol_names.decoded(path),
        test_names.decoded(path),
        np.concatenate(enrol),
        np.concatenate(test),
        np.concatenate(target) if width == 4 else None,
    )
    return trials, np.concatenate(values)


def _read_values(path: str | Path, block: Block, layout: str) -> NDArray[np.float64]:
    words = block.columns[2]
    try:
        values = np.fromiter(map(float, words), np.float64, len(words))
    except ValueError:
        row = next(row for row, word in enumerate(words) if not _is_number(word))
        raise malformed(path, block.line + row, [column[row] for column in block.columns], layout) from None
    finite = np.isfinite(values)
    if not finite.all():
        row = int(finite.argmin())
        raise complain(f"{path}:{block.line + row}", f"score {words[row].decode()} is not finite")
    return values


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
