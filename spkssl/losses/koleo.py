"""KoLeo: pushes each embedding off its nearest neighbour in the batch (arXiv 1806.03198)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spkssl.losses.precision import full_precision

_EPS = 1e-8  # added to each coordinate of the difference and to the distance, as in DINOv2's and SDPN's code


@full_precision
def koleo(x: Tensor) -> Tensor:
    """-mean_j ln(d_j + eps), d_j the distance of j's direction to the nearest other one: (..., B, D) -> (...).

    Leading axes are independent batches; SDPN sums over its crops. The gradient flows through both ends of a pair.
    A batch of one has no neighbour and gives 0.
    """
    n = F.normalize(x, dim=-1)
    if x.shape[-2] < 2:
        return (n * 0).sum(dim=(-2, -1))
    with torch.no_grad():
        dots = n @ n.mT  # (..., B, B)
        dots.diagonal(dim1=-2, dim2=-1).fill_(-2.0)  # below any cosine: nobody is its own neighbour
        nearest = dots.argmax(dim=-1, keepdim=True).expand_as(n)  # (..., B, D)
    distance = torch.linalg.vector_norm(n - n.gather(-2, nearest) + _EPS, dim=-1)  # (..., B)
    return -(distance + _EPS).log().mean(dim=-1)
