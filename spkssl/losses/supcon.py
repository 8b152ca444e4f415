"""Supervised contrastive losses, with or without a margin, with or without class-aware attention.

AAMSupCon (arXiv 2210.16636) puts no margin here (mode "none"), its margin is in the classifier; SupMarginCon
(arXiv 2210.16622) puts it on the numerator only (mode "num"). Not invariant to the split of a batch: gather first.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from spkssl.losses.aam import add_angle
from spkssl.losses.precision import full_precision

MarginMode = Literal["none", "num", "both", "am"]


class SupCon(NamedTuple):
    loss: Tensor  # () mean over the anchors that have a positive; 0 with a graph where none has
    anchors: Tensor  # (B, V) loss of each anchor, 0 where it has no positive


@full_precision
def supcon_loss(
    z: Tensor,
    label: Tensor | None,
    temperature: float = 0.07,
    margin: float = 0.0,
    margin_mode: MarginMode = "none",
    attention: Tensor | None = None,
) -> SupCon:
    """SupCon ("L_out", arXiv 2004.11362 eq. (2)) of embeddings (B, V, D), any V; every embedding is an anchor.

    label (B,), or None: only views of the same utterance are positives. attention (B, V) weakens pairs of doubtful
    samples. margin_mode: num = cos(theta + m) in the numerator only; both = also in the denominator; am = c - m.
    """
    batch, views = z.shape[:2]
    if label is None:
        label = torch.arange(batch, device=z.device)
    rows = F.normalize(z, dim=-1).flatten(0, 1)  # (N, D), N = B * V, utterance-major like the repeated labels
    cosine = rows @ rows.T  # (N, N)
    labels = label.repeat_interleave(views)  # (N,)
    own = torch.eye(len(rows), dtype=torch.bool, device=z.device)
    positive = (labels[:, None] == labels[None, :]) & ~own  # P(i): all but the anchor itself
    numerator, denominator = _with_margin(cosine, positive, margin, margin_mode)
    if attention is not None:
        sample = attention.flatten()  # (N,)
        pair = torch.minimum(sample[:, None], sample[None, :])  # a_ij = min(a_i, a_j)
        numerator, denominator = numerator * pair, denominator * pair
    anchors = _anchor_losses(numerator / temperature, denominator / temperature, positive, own)
    usable = positive.any(dim=1).sum().clamp_min(1)
    return SupCon(anchors.sum() / usable, anchors.unflatten(0, (batch, views)))


@full_precision
def class_attention(z: Tensor, weight: Tensor, label: Tensor, scale: float = 1.0) -> Tensor:
    """Probability a cosine classifier (K, D) gives each of the embeddings (B, V, D) for its own class: (B, V).

    With scale 1, as published, it hardly varies when K is large; 10 to 30 makes it tell samples apart.
    Detach the result unless the attention itself is to be trained.
    """
    return own_class_probability(scale * F.normalize(z, dim=-1) @ F.normalize(weight, dim=-1).T, label)


@full_precision
def own_class_probability(logits: Tensor, label: Tensor) -> Tensor:
    """softmax(z)_y of logits (B, ..., K) and labels (B,): (B, ...)."""
    index = label.reshape(-1, *[1] * (logits.dim() - 1)).expand(*logits.shape[:-1], 1)
    return logits.softmax(dim=-1).gather(-1, index).squeeze(-1)


def _with_margin(cosine: Tensor, positive: Tensor, margin: float, mode: MarginMode) -> tuple[Tensor, Tensor]:
    """What stands in the numerator (read at positives only) and in the denominator."""
    if mode == "none":
        return cosine, cosine
    if mode == "num":  # -> theta_ip + m against theta_ia, positives of the denominator included
        return add_angle(cosine, margin), cosine
    if mode == "both":
        moved = torch.where(positive, add_angle(cosine, margin), cosine)
        return moved, moved
    if mode == "am":
        moved = torch.where(positive, cosine - margin, cosine)
        return moved, moved
    raise ValueError(f"unknown margin mode {mode!r} (expected none, num, both or am)")


def _anchor_losses(numerator: Tensor, denominator: Tensor, positive: Tensor, own: Tensor) -> Tensor:
    """l_i = -(1/|P(i)|) sum_{p in P(i)} [ s_ip - log sum_{a != i} exp s_ia ], 0 where P(i) is empty: (N,)."""
    count = positive.sum(dim=1)  # (N,)
    # Finite rather than -inf: with a single embedding a row of -inf only would have a NaN gradient.
    norm = denominator.masked_fill(own, torch.finfo(denominator.dtype).min).logsumexp(dim=1)  # (N,)
    attraction = torch.where(positive, numerator, 0.0).sum(dim=1) / count.clamp_min(1)
    return torch.where(count > 0, norm - attraction, 0.0)
