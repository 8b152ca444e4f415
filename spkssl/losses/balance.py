"""Weights of two losses such that their joint gradient is shortest (MGDA, Sener and Koltun, arXiv 1810.04650)."""

from __future__ import annotations

import torch
from torch import Tensor

from spkssl.losses.precision import full_precision


@torch.no_grad()
@full_precision
def min_norm_weight(first: Tensor, second: Tensor) -> Tensor:
    """alpha in [0, 1] minimising ||alpha g1 + (1 - alpha) g2||; 0.5 where the gradients agree."""
    first, second = first.flatten(), second.flatten()
    difference = second - first
    square = difference.dot(difference)
    # alpha = clip(<g2 - g1, g2> / ||g1 - g2||^2, 0, 1): the square of the norm, not the norm
    alpha = (difference.dot(second) / square.clamp_min(torch.finfo(square.dtype).tiny)).clamp(0, 1)
    return torch.where(square.sqrt() < 1e-12, torch.full_like(alpha, 0.5), alpha)


def balanced_loss(first: Tensor, second: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
    """alpha L1 + (1 - alpha) L2 and alpha, from the gradients of both with respect to the shared embeddings.

    Two extra backward passes, from the losses to `shared` only; alpha carries no gradient.
    """
    gradients = [torch.autograd.grad(loss, shared, retain_graph=True)[0] for loss in (first, second)]
    alpha = min_norm_weight(*gradients)
    return alpha * first + (1 - alpha) * second, alpha
