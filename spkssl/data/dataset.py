"""The utterances a run trains on: names, crops and, where a file gives them, labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spkssl.audio.store import BUDGET, Cache, Mode, Store, open_store
from spkssl.errors import complain, some
from spkssl.io.datadir import DataDir
from spkssl.io.tables import read_table


class Utterances:
    """N utterances in byte order of their names; the row in this order is `Batch.index`."""

    def __init__(self, names: Sequence[str], store: Store, labels: NDArray[np.int64] | None = None) -> None:
        """`labels`: (N,), -1 for an utterance to leave out."""
        assert len(names) == len(store), "one entry of the store per utterance"
        self.names, self.store, self.labels = list(names), store, labels

    @classmethod
    def open(
        cls,
        path: str | Path,
        mode: Mode = "feats",
        labels: str | Path | None = None,
        cache: Cache = "auto",
        budget: int = BUDGET,
    ) -> Utterances:
        """A data directory. The cache is kept when the set takes at most `budget` bytes; values never depend on it."""
        data = DataDir(Path(path))
        found = read_labels(labels, data.utts) if labels is not None else None
        return cls(data.utts, open_store(data, mode, cache, budget), found)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def mode(self) -> Mode:
        return self.store.mode

    @property
    def num_frames(self) -> NDArray[np.int64]:
        return self.store.num_frames

    @property
    def num_classes(self) -> int:
        return int(self.labels.max()) + 1 if self.labels is not None else 0


def read_labels(path: str | Path, names: Sequence[str]) -> NDArray[np.int64]:
    """(N,) labels of these utterances from lines `utterance label`.

    Integers stand for themselves, -1 leaves an utterance out; other labels are numbered in byte order.
    """
    table = read_table(path)
    missing = [name for name in names if name not in table]
    if missing:
        raise complain(path, f"no label for {some(missing)}", "cluster this set, or write -1 to leave an utterance out")
    values = [table[name] for name in names]
    try:
        labels = np.array([int(value) for value in values], np.int64)
    except ValueError:
        return np.unique(np.array(values), return_inverse=True)[1].astype(np.int64)
    if labels.min() < -1:
        raise complain(path, f"label {labels.min()} of {names[int(labels.argmin())]} (expected -1 or more)")
    if labels.max() < 0:
        raise complain(path, "all utterances are left out (label -1)", "cluster with settings that keep some")
    return labels
