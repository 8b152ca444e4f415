"""RDINO's variance and covariance regularisers (arXiv 2211.04168, after VICReg, arXiv 2105.04906).

Not invariant to the split of a batch: gather the rows first.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spkssl.losses.precision import full_precision


class Regularised(NamedTuple):
    loss: Tensor  # () weighted sum
    variance: Tensor  # () mean of student and teacher
    covariance: Tensor  # () sum of student and teacher


@full_precision
def variance_hinge(x: Tensor) -> Tensor:
    """mean_d max(0, 1 - sqrt(var_d + 1e-4)) of x (N, D), unbiased variance."""
    _need_two(x)
    return (1 - (x.var(dim=0) + 1e-4).sqrt()).clamp_min(0).mean()


@full_precision
def covariance_energy(x: Tensor) -> Tensor:
    """sum_{i != j} C_ij^2 with C = x'x / (N - 1) of the mean-centred x (N, D)."""
    _need_two(x)
    x = x - x.mean(dim=0)
    energy = x.square().sum(dim=0)  # (D,)
    if len(x) < x.shape[1]:
        # ||x'x||_F = ||xx'||_F: an N x N matrix instead of D x D (208^2 instead of 8192^2 in RDINO)
        off = (x @ x.T).square().sum() - energy.square().sum()
    else:
        own = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        off = (x.T @ x).masked_fill(own, 0.0).square().sum()
    return off / (len(x) - 1) ** 2


@full_precision
def rdino_regulariser(
    student: Tensor,
    teacher: Tensor,
    num_features: int,
    variance_weight: float = 10.0,
    covariance_weight: float = 1.0,
) -> Regularised:
    """L_REG = 10 V + R of (N, D) vectors, each the mean over an utterance's global crops.

    num_features divides the covariance energy: RDINO's code uses the size of the output layer, VICReg uses D.
    The teacher's halves change the value, not the gradient.
    """
    teacher = teacher.detach()
    variance = 0.5 * (variance_hinge(student) + variance_hinge(teacher))
    covariance = (covariance_energy(student) + covariance_energy(teacher)) / num_features
    return Regularised(variance_weight * variance + covariance_weight * covariance, variance, covariance)


def _need_two(x: Tensor) -> None:
    if len(x) < 2:
        raise ValueError(f"a variance needs at least two rows (got {len(x)})")
