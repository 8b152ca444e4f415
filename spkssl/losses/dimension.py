"""Dimension regularisation of embeddings: columns should not repeat each other (SDPN's follow-up, arXiv 2505.13826).

Not invariant to the split of a batch: gather the rows first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spkssl.losses.precision import full_precision


@full_precision
def frobenius(x: Tensor) -> Tensor:
    """ln ||C||_F of the column cosines C of x (N, D), the diagonal held at 1; from 0.5 ln D to ln D."""
    # 0.5 ln(D + sum_{i != j} C_ij^2)
    return 0.5 * torch.log(x.shape[1] + _off_diagonal_energy(x))


@full_precision
def off_diagonal(x: Tensor) -> Tensor:
    """(1/D) sum_{i != j} C_ij^2 of the column cosines C of x (N, D)."""
    return _off_diagonal_energy(x) / x.shape[1]


def _off_diagonal_energy(x: Tensor) -> Tensor:
    # Columns are not mean-centred. The floor sits on the squared norm: a dead column has cosine 0 with all others.
    norms = x.square().sum(dim=0).clamp_min(1e-8).sqrt()  # (D,)
    cosines = (x / norms).T @ (x / norms)  # (D, D)
    own = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    return cosines.masked_fill(own, 0.0).square().sum()
