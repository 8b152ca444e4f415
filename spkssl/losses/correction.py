"""Label correction for samples a gate turned away (DLG-LC, arXiv 2208.01928)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spkssl.losses.aam import aam_logits, cross_entropies
from spkssl.losses.precision import full_precision


class Prediction(NamedTuple):
    label: Tensor  # (B,) arg-max class
    confidence: Tensor  # (B,) its probability
    confident: Tensor  # (B,) bool


@torch.no_grad()
@full_precision
def predict(logits: Tensor, temperature: float = 0.1, threshold: float = 0.5) -> Prediction:
    """y* = argmax softmax(z / temperature), confident where its probability exceeds `threshold`.

    For few classes give cosines and temperature 0.1; for thousands s times the cosines and temperature 1, as a
    cosine of 0.6 among 7500 zeros reaches only 0.05 at temperature 0.1. Raw inner products, which the public code
    takes, have no scale to which a threshold could refer.
    """
    confidence, label = (logits / temperature).softmax(dim=-1).max(dim=-1)
    return Prediction(label, confidence, confidence > threshold)


@full_precision
def corrected_losses(
    cosine: Tensor, label: Tensor, corrected: Tensor, margin: float, scale: float, margin_on_given: bool = False
) -> Tensor:
    """l_i(y*): cross-entropy of the augmented crop's cosines (B, K) under the corrected label: (B,).

    The margin sits on the corrected class; `margin_on_given` leaves it on the old label, which the public code does
    and which makes every correction look easy.
    """
    logits = aam_logits(cosine, label if margin_on_given else corrected, margin, scale)
    return cross_entropies(logits, corrected)


@full_precision
def corrected_mean(losses: Tensor, keep: Tensor, corrected: Tensor, confident: Tensor) -> Tensor:
    """(1/B) sum_i [ mask_i l_i(y_i) + (1 - mask_i) conf_i l_i(y*_i) ]: divided by B, not by the number used."""
    return (torch.where(keep, losses, 0.0) + torch.where(confident & ~keep, corrected, 0.0)).mean()
