"""Stopping rules, as pure functions of the whole history: nothing to save but the history, and no way to un-stop."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from spkssl.losses.precision import full_precision


def smooth(values: Sequence[float], share: float = 0.5) -> list[float]:
    """M_t = (1 - share) M_{t-1} + share m_t, M_0 = m_0."""
    out: list[float] = []
    for value in values:
        out.append(value if not out else (1 - share) * out[-1] + share * value)
    return out


def plateau_epoch(
    values: Sequence[float],
    *,
    earliest: int = 5,
    latest: int | None = None,
    window: int = 3,
    tolerance: float = 0.02,
    patience: int = 2,
    share: float = 0.5,
) -> int | None:
    """The 0-based epoch after which a loss with these epoch means has stopped falling, or None so far.

    From epoch `earliest` on, (M_{t-window} - M_t) / |M_{t-window}| < tolerance for `patience` epochs in a row, with M
    the smoothed means; in any case once `latest` epochs have run. Later values never change an answer already given.
    """
    level = smooth(values, share)
    run = 0
    for epoch in range(len(level)):
        if latest is not None and epoch + 1 >= latest:
            return epoch
        if epoch < max(earliest, window):
            continue
        before = level[epoch - window]
        gain = (before - level[epoch]) / max(abs(before), math.ulp(1.0))
        run = run + 1 if gain < tolerance else 0
        if run >= patience:
            return epoch
    return None


def disagreement_epoch(agreements: Sequence[float], *, earliest: int = 0, patience: int = 2) -> int | None:
    """The 0-based epoch at which the agreement of two gradients has been below 0 for `patience` epochs, or None."""
    run = 0
    for epoch, agreement in enumerate(agreements):
        run = run + 1 if agreement < 0 and epoch >= earliest else 0
        if run >= patience:
            return epoch
    return None


def past_best(values: Sequence[float], minimum: int = 4, patience: int = 3) -> int | None:
    """LGL's end of a phase: index of the best (lowest) value once at least `minimum` exist and the last `patience` are
    all worse than it; None while the phase goes on."""
    if len(values) < max(minimum, patience + 1):
        return None
    best = min(values)
    return values.index(best) if all(value > best for value in values[-patience:]) else None


@torch.no_grad()
@full_precision
def gradient_agreement(first: Tensor, second: Tensor) -> Tensor:
    """Mean over rows of the cosine of two gradients (B, D); rows without a gradient count as 0."""
    return torch.cosine_similarity(first, second, dim=-1, eps=1e-30).mean()
