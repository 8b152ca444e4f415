"""Sinkhorn-Knopp: soft assignments made equal in mass over the prototypes of the global batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spkssl.losses.precision import full_precision


def identity(x: Tensor) -> Tensor:
    """The sum over ranks where there is one rank."""
    return x


@torch.no_grad()
@full_precision
def sinkhorn(assignments: Tensor, rounds: int = 3, reduce: Callable[[Tensor], Tensor] = identity) -> Tensor:
    """Equipartitioned version of non-negative rows (B, K); rows of the result sum to 1, no gradient.

    `reduce` sums a tensor over all ranks: column masses are those of the global batch, so every rank gets the rows
    it would have in one process. Every rank must call it with the same `rounds`.
    """
    num_columns = assignments.shape[1]
    tiny = torch.finfo(assignments.dtype).tiny
    num_rows = reduce(assignments.new_tensor([float(len(assignments))]))  # (1,), all ranks
    q = assignments / reduce(assignments.sum().reshape(1)).clamp_min(tiny)  # (B, K)
    for _ in range(rounds):
        # A prototype nobody uses has mass 0 and stays at 0 rather than becoming 0/0.
        q = q / (reduce(q.sum(dim=0)).clamp_min(tiny) * num_columns)  # each prototype holds 1/K
        q = q / (q.sum(dim=1, keepdim=True).clamp_min(tiny) * num_rows)  # each sample holds 1/B
    return q * num_rows


@torch.no_grad()
@full_precision
def sinkhorn_targets(
    logits: Tensor, temperature: float, rounds: int = 3, reduce: Callable[[Tensor], Tensor] = identity
) -> Tensor:
    """Targets for self-distillation from teacher logits (..., K): Sinkhorn of their softmax over all leading rows.

    The softmax, unlike a bare exponential, cannot overflow; in the limit of many rounds both give the same.
    """
    rows = logits.reshape(-1, logits.shape[-1])  # (N, K)
    return sinkhorn((rows / temperature).softmax(dim=-1), rounds, reduce).reshape(logits.shape)
