"""Augmentation-adversarial training: the encoder must hide which augmentation it heard (arXiv 2007.12085)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def reverse_gradient(x: Tensor, weight: float = 1.0) -> Tensor:
    """x; its gradient is multiplied by -weight."""
    return _Reverse.apply(x, weight)


def channel_pairs(anchor: Tensor, same: Tensor, different: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of embeddings for the discriminator (2B, 2D) and their labels (2B,): 1 where the augmentation is shared.

    All (B, D): anchor = (segment 0, profile A), same = (segment 1, profile A), different = (segment 1, profile B).
    """
    pairs = torch.cat([torch.cat([anchor, same], dim=1), torch.cat([anchor, different], dim=1)])
    return pairs, (torch.arange(len(pairs), device=pairs.device) < len(anchor)).long()


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * grad, None
