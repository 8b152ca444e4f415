"""Quality measures of trials, to stand next to the score in calibration (wespeaker bin/score_calibration.py)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DURATION_CAP = 20.0  # seconds; longer does not sharpen an embedding further
KINDS = ("min", "max", "difference", "ratio")


def measure_names(measure: str) -> tuple[str, ...]:
    """Names of the columns `pair_measures` makes, e.g. `duration_min`."""
    return tuple(f"{measure}_{kind}" for kind in KINDS)


def pair_measures(
    enrol: NDArray[np.float64], test: NDArray[np.float64], cap: float | None = None, floor: float = 1e-8
) -> NDArray[np.float64]:
    """Smaller, larger, their difference and their ratio (>= 1) for each trial: (P,), (P,) -> (P, 4)."""
    if cap is not None:
        enrol, test = np.minimum(enrol, cap), np.minimum(test, cap)
    low, high = np.minimum(enrol, test), np.maximum(enrol, test)
    return np.column_stack([low, high, high - low, high / np.maximum(low, floor)])
