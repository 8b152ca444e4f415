"""Adaptive symmetric score normalisation of cosine scores.

Type 1, with the k highest cohort scores of each side:
  s' = 1/2 [(s - mu(top_k S_e)) / sigma(top_k S_e) + (s - mu(top_k S_t)) / sigma(top_k S_t)]
Type 2 (Matejka et al., Interspeech 2017): the enrolment's statistics are taken over the cohort members that are
nearest to the test, and the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spkssl import rng
from spkssl.backend import cohort as cohorts
from spkssl.backend.cohort import Statistics
from spkssl.backend.store import load_arrays, save_arrays
from spkssl.backend.vectors import as_rows, blocks, centre, dot_pairs, unit

Array = NDArray[np.float64]

_CROSS_BLOCK = 1024  # enrolment rows scored against the cohort at a time
_CROSS_PAIRS = 4096  # trials whose k scores are gathered at a time


@dataclass(frozen=True)
class Config:
    name: str = "asnorm"
    top_k: int = 300  # wespeaker VoxCeleb and CN-Celeb run.sh
    type: Literal[1, 2] = 1
    deviation: cohorts.Deviation = "population"  # wespeaker; sslsv and speechbrain divide by k - 1
    cohort: cohorts.Kind = "centres"  # of pseudo-speakers, or single utterances
    num_utterances: int = 20000  # drawn for a cohort of utterances; speechbrain's cohort size
    subtract_mean: bool = True  # of the set given to fit, as in wespeaker
    seed: int = 0  # of the draw of utterances


class NormSide(NamedTuple):
    unit: NDArray[Any]  # (M, D)
    cohort: Statistics


class AsNorm:
    config: Any

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self.mean: Array | None = None  # (D,)
        self.cohort: NDArray[Any] | None = None  # (C, D) unit vectors

    def fit(self, x: NDArray[Any], labels: NDArray[np.int64] | None = None, mean: Array | None = None) -> AsNorm:
        """`mean`: (D,) subtracted instead of that of x. Labels are needed for a cohort of centres only."""
        x, config = as_rows(x), self.config
        self.mean = centre(x, mean, config.subtract_mean)
        if config.cohort == "centres":
            raw = cohorts.centres(x, labels)
        else:
            raw = cohorts.drawn(x, config.num_utterances, rng.numpy(config.seed, "cohort"))
        self.cohort = unit(raw, self.mean)
        return self

    def project(self, x: NDArray[Any], counts: NDArray[Any] | None = None) -> NormSide:
        """Unit vectors and their cohort statistics; counts are not looked at."""
        assert self.mean is not None and self.cohort is not None, "fit comes before project"
        rows = unit(as_rows(x, len(self.mean)), self.mean)
        return NormSide(rows, self._statistics(rows, self.cohort.astype(rows.dtype)))

    def pairs(self, enrol: NormSide, test: NormSide, i: NDArray[Any], j: NDArray[Any]) -> Array:
        scores = dot_pairs(enrol.unit, test.unit, i, j)
        if self.config.type == 1:
            mean_e, std_e = enrol.cohort.mean[i], enrol.cohort.std[i]
            mean_t, std_t = test.cohort.mean[j], test.cohort.std[j]
        else:
            mean_e, std_e = self._cross(enrol, test, i, j)
            mean_t, std_t = self._cross(test, enrol, j, i)
        return 0.5 * ((scores - mean_e) / std_e + (scores - mean_t) / std_t)

    def score(self, enrol: NDArray[Any], test: NDArray[Any], counts: NDArray[Any] | None = None) -> Array:
        rows = np.arange(len(enrol))
        return self.pairs(self.project(enrol), self.project(test), rows, rows)

    def save(self, path: str | Path) -> None:
        assert self.mean is not None and self.cohort is not None, "fit comes before save"
        save_arrays(path, self.config, {"mean": self.mean, "cohort": self.cohort})

    @classmethod
    def load(cls, path: str | Path) -> AsNorm:
        config, arrays = load_arrays(path, Config)
        return cls._restore(config, arrays)

    @classmethod
    def _restore(cls, config: Any, arrays: dict[str, NDArray[Any]]) -> Any:
        backend = cls(config)
        backend.mean, backend.cohort = arrays["mean"], arrays["cohort"]
        return backend

    def _statistics(self, rows: NDArray[Any], cohort: NDArray[Any]) -> Statistics:
        top = cohorts.clip_top(self.config.top_k, len(cohort))
        return cohorts.statistics(rows, cohort, top, self.config.deviation, keep=self.config.type == 2)

    def _cross(self, side: NormSide, other: NormSide, i: NDArray[Any], j: NDArray[Any]) -> tuple[Array, Array]:
        """Mean and deviation of side i[p]'s scores against the cohort members nearest to other j[p]: (P,) each.

        Trials are taken in the order of i, so each row meets the cohort once.
        """
        assert self.cohort is not None and other.cohort.top is not None, "type 2 keeps the nearest cohort members"
        cohort = self.cohort.astype(side.unit.dtype)
        mean, std = np.empty(len(i)), np.empty(len(i))
        order = np.argsort(i, kind="stable")
        rows, starts = np.unique(i[order], return_index=True)
        ends = np.append(starts[1:], len(i))
        for part in blocks(len(rows), _CROSS_BLOCK):
            scores = side.unit[rows[part]] @ cohort.T  # (rows, C)
            mine = order[starts[part][0] : ends[part][-1]]
            place = np.searchsorted(rows[part], i[mine])
            for few in blocks(len(mine), _CROSS_PAIRS):
                trial = mine[few]
                against = scores[place[few][:, None], other.cohort.top[j[trial]]]  # (trials, k)
                mean[trial], std[trial] = cohorts.moments(against, self.config.deviation)
        return mean, cohorts.floored(std)
