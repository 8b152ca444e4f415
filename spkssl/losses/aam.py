"""Additive angular margin softmax (ArcFace, arXiv 1801.07698) with far branch, removed classes and sub-centres."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from spkssl.losses.precision import full_precision

# The slope of sqrt(1 - c^2) is infinite at |c| = 1, which duplicates reach; the floor moves phi by < 7e-5 at m = 0.2.
_SINE_FLOOR = 1e-7


@full_precision
def add_angle(cosine: Tensor, margin: float) -> Tensor:
    """cos(theta + m), continued beyond theta + m = pi so that it keeps falling with theta; never NaN."""
    sine = (1 - cosine.square()).clamp_min(_SINE_FLOOR).sqrt()
    near = cosine * math.cos(margin) - sine * math.sin(margin)
    far = cosine - margin * math.sin(math.pi - margin)
    return torch.where(cosine > math.cos(math.pi - margin), near, far) if margin else cosine


@full_precision
def class_cosines(x: Tensor, weight: Tensor) -> Tensor:
    """Cosine of every row of x (B, D) with every class: (B, K).

    weight is (K, D), or (K, S, D) with S sub-centres per class, of which the nearest counts.
    """
    rows = F.normalize(weight, dim=-1).reshape(-1, weight.shape[-1])  # (K * S, D)
    cosine = F.normalize(x, dim=-1) @ rows.T  # (B, K * S)
    return cosine if weight.dim() == 2 else cosine.unflatten(1, weight.shape[:2]).amax(dim=-1)


@full_precision
def aam_logits(
    cosine: Tensor, label: Tensor | None, margin: float, scale: float, removed: Tensor | None = None
) -> Tensor:
    """s phi(cos) at the label's class and s cos elsewhere; -inf at removed classes: (B, K).

    label (B,) or None for no margin at all; removed (K,) bool. A removed class gets probability and gradient 0.
    """
    if label is not None and margin:
        column = label.unsqueeze(1)  # (B, 1)
        cosine = cosine.scatter(1, column, add_angle(cosine.gather(1, column), margin))
    logits = scale * cosine
    return logits if removed is None else logits.masked_fill(removed, float("-inf"))


@full_precision
def aam_losses(
    x: Tensor, weight: Tensor, label: Tensor, margin: float, scale: float, removed: Tensor | None = None
) -> Tensor:
    """Cross-entropy of every sample under its label, margin included: (B,)."""
    return cross_entropies(aam_logits(class_cosines(x, weight), label, margin, scale, removed), label)


@full_precision
def cross_entropies(logits: Tensor, label: Tensor) -> Tensor:
    """-log softmax(z)_y per sample: (B,)."""
    return F.cross_entropy(logits, label, reduction="none")


@full_precision
def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """sum_u p_u l_u / sum_u p_u (SSRL); 0 with zero gradient where all weights are 0, whatever the losses are.

    Taken over one process's batch, as in the public code: not invariant to the split.
    """
    weights = weights.detach().to(losses.dtype)
    # An infinite loss of weight 0 must not give 0 * inf.
    total = torch.where(weights > 0, losses * weights, 0.0).sum()
    return total / weights.sum().clamp_min(torch.finfo(losses.dtype).tiny)
