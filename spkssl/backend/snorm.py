"""Symmetric score normalisation over the whole cohort, and its halves: z-norm (enrolment) and t-norm (test)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spkssl.backend import cohort as cohorts
from spkssl.backend.asnorm import AsNorm, NormSide
from spkssl.backend.cohort import Statistics
from spkssl.backend.store import load_arrays
from spkssl.backend.vectors import dot_pairs


@dataclass(frozen=True)
class Config:
    name: str = "snorm"
    sides: Literal["both", "enrol", "test"] = "both"  # s-norm, z-norm, t-norm
    deviation: cohorts.Deviation = "population"  # wespeaker; sslsv and speechbrain divide by C - 1
    cohort: cohorts.Kind = "centres"  # of pseudo-speakers, or single utterances
    num_utterances: int = 20000  # drawn for a cohort of utterances; speechbrain's cohort size
    subtract_mean: bool = True  # of the set given to fit, as in wespeaker
    seed: int = 0  # of the draw of utterances


class SNorm(AsNorm):
    """Cohort and statistics as in AS-norm, with every cohort member counted."""

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = config or Config()

    def pairs(self, enrol: NormSide, test: NormSide, i: NDArray[Any], j: NDArray[Any]) -> NDArray[np.float64]:
        scores = dot_pairs(enrol.unit, test.unit, i, j)
        z_norm = (scores - enrol.cohort.mean[i]) / enrol.cohort.std[i]
        t_norm = (scores - test.cohort.mean[j]) / test.cohort.std[j]
        return {"both": 0.5 * (z_norm + t_norm), "enrol": z_norm, "test": t_norm}[self.config.sides]

    @classmethod
    def load(cls, path: str | Path) -> SNorm:
        config, arrays = load_arrays(path, Config)
        return cls._restore(config, arrays)

    def _statistics(self, rows: NDArray[Any], cohort: NDArray[Any]) -> Statistics:
        return cohorts.statistics(rows, cohort, None, self.config.deviation)
