"""Mean-entropy maximisation: keeps all prototypes in use (Masked Siamese Networks, arXiv 2204.07141)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spkssl.losses.precision import full_precision


@full_precision
def me_max(mean_probs: Tensor) -> Tensor:
    """KL of the mean assignment (K,) from uniform: ln K + sum_k p_k ln p_k, from 0 to ln K.

    Average the assignments over ranks before the call.
    """
    # The floor makes 0 ln 0 = 0 and keeps the slope at an unused prototype finite.
    log_probs = mean_probs.clamp_min(torch.finfo(mean_probs.dtype).tiny).log()
    return math.log(len(mean_probs)) + (mean_probs * log_probs).sum()
