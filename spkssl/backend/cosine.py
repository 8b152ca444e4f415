"""Cosine scores of embeddings minus the mean of a stated set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spkssl.backend.store import load_arrays, save_arrays
from spkssl.backend.vectors import as_rows, centre, dot_pairs, unit

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Config:
    name: str = "cosine"
    subtract_mean: bool = True  # of the set given to fit (wespeaker bin/score.py: the training utterances)


class Cosine:
    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self.mean: Array | None = None  # (D,)

    def fit(self, x: NDArray[Any], labels: NDArray[np.int64] | None = None, mean: Array | None = None) -> Cosine:
        """`mean`: (D,) subtracted instead of that of x. Labels are not looked at."""
        self.mean = centre(as_rows(x), mean, self.config.subtract_mean)
        return self

    def project(self, x: NDArray[Any], counts: NDArray[Any] | None = None) -> NDArray[Any]:
        """(M, D) unit vectors; averages are scored like single utterances, so counts are not looked at."""
        assert self.mean is not None, "fit comes before project"
        return unit(as_rows(x, len(self.mean)), self.mean)

    def pairs(self, enrol: NDArray[Any], test: NDArray[Any], i: NDArray[Any], j: NDArray[Any]) -> Array:
        return dot_pairs(enrol, test, i, j)

    def score(self, enrol: NDArray[Any], test: NDArray[Any], counts: NDArray[Any] | None = None) -> Array:
        rows = np.arange(len(enrol))
        return self.pairs(self.project(enrol), self.project(test), rows, rows)

    def save(self, path: str | Path) -> None:
        assert self.mean is not None, "fit comes before save"
        save_arrays(path, self.config, {"mean": self.mean})

    @classmethod
    def load(cls, path: str | Path) -> Cosine:
        config, arrays = load_arrays(path, Config)
        backend = cls(config)
        backend.mean = arrays["mean"]
        return backend
