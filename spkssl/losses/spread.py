"""Is the embedding space in use? Two numbers every method logs, read by the health monitor."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from spkssl.losses.precision import full_precision


@torch.no_grad()
@full_precision
def spread(x: Tensor) -> dict[str, Tensor]:
    """Of embeddings (B, D) of different utterances.

    embed_std: deviation over the batch of the unit vectors, times sqrt(D): 1 when spread, 0 when collapsed.
    embed_cos: mean cosine between different rows: near 0 when spread, 1 when collapsed.
    """
    unit = F.normalize(x.detach(), dim=-1)
    rows, dim = unit.shape
    if rows < 2:
        return {}
    # the sum of all cosines is |sum of units|^2, the diagonal holds `rows` ones
    cosine = (unit.sum(dim=0).square().sum() - rows) / (rows * (rows - 1))
    return {"embed_std": unit.var(dim=0).mean().sqrt() * dim**0.5, "embed_cos": cosine}
