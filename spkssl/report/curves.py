"""Score files reduced to what a plot draws: a few hundred points, however many trials there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spkssl.errors import complain
from spkssl.io.scores import read_scores
from spkssl.metrics.dcf import min_dcf
from spkssl.metrics.det import det_points, probit
from spkssl.metrics.eer import eer
from spkssl.metrics.staircase import order
from spkssl.report.run import View

_POINTS = 400
_BINS = 60


@dataclass(frozen=True, eq=False)
class Curve:
    """One encoder by one back-end on one list."""

    at: str
    backend: str
    trials: str
    x: NDArray  # probit of P_fa along the DET curve
    y: NDArray  # probit of P_miss
    eer: float  # in %
    eer_at: tuple[float, float]  # probits of the point
    costs: Mapping[str, tuple[float, float]]  # p_target -> probits (P_fa, P_miss) of the least cost
    threshold: float  # of the EER
    edges: NDArray  # (bins + 1,)
    target: NDArray  # (bins,) density of scores
    nontarget: NDArray  # (bins,)


def read_curves(view: View) -> list[Curve]:
    """In the order of the rows; one score file in memory at a time."""
    return [_read(view.score_file(row), row) for row in view.rows]


def by_list(curves: Iterable[Curve]) -> dict[str, list[Curve]]:
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        found.setdefault(curve.trials, []).append(curve)
    return found


def _read(path: Path, row: Mapping[str, Any]) -> Curve:
    trials, scores = read_scores(path)
    if trials.target is None:
        raise complain(path, "has no labels, though results.json has its error rate", "score again (stage 7)")
    counts = int(trials.target.sum()), int((~trials.target).sum())
    if counts != (row["n_target"], row["n_nontarget"]):
        expected = f"expected {row['n_target']} and {row['n_nontarget']} as in results.json"
        what = f"has {counts[0]} targets and {counts[1]} non-targets ({expected})"
        raise complain(path, what, "score again (stage 7)")
    ordered = order(scores, trials.target)
    points = {p: min_dcf(ordered, p_target=float(p)) for p in row["min_dcf"]}
    curve = det_points(ordered, limit=_POINTS)
    middle = float(probit(row["eer"] / 100, min(counts)))
    edges = np.linspace(scores.min(), max(scores.max(), scores.min() + 1e-6), _BINS + 1)
    return Curve(
        row["at"],
        row["backend"],
        row["trials"],
        curve.x,
        curve.y,
        row["eer"],
        (middle, middle),
        {p: (float(probit(q.p_fa, counts[1])), float(probit(q.p_miss, counts[0]))) for p, q in points.items()},
        eer(ordered).threshold,
        edges,
        np.histogram(ordered.targets, edges, density=True)[0],
        np.histogram(ordered.nontargets, edges, density=True)[0],
    )
