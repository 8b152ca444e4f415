"""SDPN: students predict the teacher's sharpened, equipartitioned prototype assignment (arXiv 2308.02774)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from spkssl.losses.precision import full_precision
from spkssl.losses.sinkhorn import identity, sinkhorn


class PrototypeLoss(NamedTuple):
    loss: Tensor  # () cross-entropy
    mean_probs: Tensor  # (K,) mean assignment of all student rows, with gradient: what me_max wants


@full_precision
def prototype_logits(x: Tensor, prototypes: Tensor, temperature: float) -> Tensor:
    """cos(x, c_k) / tau for x (..., D) and prototypes (K, D), neither needing unit norm: (..., K)."""
    return F.normalize(x, dim=-1) @ F.normalize(prototypes, dim=-1).T / temperature


@torch.no_grad()
@full_precision
def prototype_targets(
    teacher: Tensor,
    prototypes: Tensor,
    temperature: float = 0.1,
    sharpening: float = 0.25,
    rounds: int = 3,
    reduce: Callable[[Tensor], Tensor] = identity,
) -> Tensor:
    """Targets (B, K) from teacher outputs (B, D), no gradient; `reduce` sums over ranks, rounds=0: no Sinkhorn."""
    # Sharpening q^(1/T) / sum q^(1/T) of a softmax at tau is a softmax at tau T.
    sharp = prototype_logits(teacher, prototypes, temperature * sharpening).softmax(dim=-1)
    return sinkhorn(sharp, rounds, reduce)


@full_precision
def prototype_loss(student: Tensor, prototypes: Tensor, targets: Tensor, temperature: float = 0.1) -> PrototypeLoss:
    """Cross-entropy of every short crop, student (V, B, D), against the one target (B, K) of its utterance."""
    log_probs = prototype_logits(student, prototypes, temperature).log_softmax(dim=-1)  # (V, B, K)
    # L_CE = 1/(V B) sum_v sum_j -sum_k q_jk ln p_(v,j),k; no view is skipped
    loss = -(targets.detach() * log_probs).sum(dim=-1).mean()
    return PrototypeLoss(loss, log_probs.exp().flatten(0, -2).mean(dim=0))
