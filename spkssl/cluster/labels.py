"""Labels of utterances: their canonical numbers, the centres, and the files they live in.

Canonical: 0..K-1 without gaps, the biggest cluster is 0, ties go to the one whose first utterance comes first;
-1 = left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spkssl.cluster.vectors import as_rows, sums, unit_rows
from spkssl.errors import complain

LEFT_OUT = -1


def canonical(labels: ArrayLike) -> NDArray[np.int64]:
    """The same partition in canonical numbers; anything below 0 is left out."""
    labels = np.asarray(labels)
    out = np.full(len(labels), LEFT_OUT, np.int64)
    kept = np.flatnonzero(labels >= 0)
    _, first, member, sizes = np.unique(labels[kept], return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    out[kept] = rank[member.reshape(-1)]
    return out


def count(labels: NDArray[np.int64]) -> int:
    """How many clusters canonical labels have."""
    return int(labels.max(initial=LEFT_OUT)) + 1


def centroids(x: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """(K, D) plain means of the unit rows of each label, not made unit again: SSRL starts its classifier from them."""
    kept = labels >= 0
    if not kept.any():
        raise complain("clusters", "every utterance is left out", "lower min_size, drop_far or min_posterior")
    found = labels if kept.all() else labels[kept]
    rows = unit_rows(as_rows(x if kept.all() else x[kept]))
    sizes = np.bincount(found)
    return sums(rows, found, len(sizes)) / sizes[:, None].astype(np.float32)


def write_labels(path: str | Path, utts: Sequence[str], labels: NDArray[np.int64]) -> None:
    """Lines `utterance label`. Those left out are there with -1, so that a missing utterance is known as a mistake."""
    from spkssl.io.tables import write_table

    write_table(path, dict(zip(utts, labels.tolist(), strict=True)))


def read_labels(path: str | Path) -> dict[str, int]:
    """Utterance -> label, of the utterances that have one."""
    from spkssl.io.tables import read_table

    table = {}
    for utt, value in read_table(path).items():
        try:
            label = int(value)
        except ValueError:
            raise complain(path, f"label of {utt} is {value!r} (expected a whole number)") from None
        if label < LEFT_OUT:
            raise complain(path, f"label of {utt} is {label} (expected -1 or more)")
        if label >= 0:
            table[utt] = label
    return table
