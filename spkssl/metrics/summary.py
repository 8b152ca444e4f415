"""All verification metrics of one list of scores, from one sort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from spkssl.metrics.cllr import cllr, min_cllr
from spkssl.metrics.dcf import CostPoint, act_dcf, min_dcf
from spkssl.metrics.det import OperatingPoint, threshold_at_far
from spkssl.metrics.eer import ErrorPoint, eer
from spkssl.metrics.staircase import Ordered, order


@dataclass(frozen=True)
class Summary:
    """act_dcf and cllr mean something only for scores that are natural-log likelihood ratios."""

    n_target: int
    n_nontarget: int
    eer: ErrorPoint
    min_dcf: dict[float, CostPoint]  # by p_target
    act_dcf: dict[float, CostPoint]
    cllr: float
    min_cllr: float
    at_far: dict[float, OperatingPoint]  # by false-alarm rate


def summary(
    scores: ArrayLike | Ordered,
    is_target: ArrayLike | None = None,
    p_targets: Sequence[float] = (0.01, 0.05),
    fars: Sequence[float] = (0.01, 0.001),
    definition: str = "staircase",
) -> Summary:
    """EER by `definition`, minDCF, actDCF, Cllr, minCllr and the thresholds at false-alarm rates, with unit costs."""
    ordered = order(scores, is_target)
    return Summary(
        n_target=ordered.n_target,
        n_nontarget=ordered.n_nontarget,
        eer=eer(ordered, definition=definition),
        min_dcf={p: min_dcf(ordered, p_target=p) for p in p_targets},
        act_dcf={p: act_dcf(ordered, p_target=p) for p in p_targets},
        cllr=cllr(ordered),
        min_cllr=min_cllr(ordered),
        at_far={far: threshold_at_far(ordered, far=far) for far in fars},
    )
