"""SSRL's label noise model and label queue (arXiv 2401.01473)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from spkssl.losses.gate import log_loss
from spkssl.losses.gmm1d import Mixture, clip_percentiles, fit_mixture

EMPTY = -1  # a place of the label queue that holds no label yet


class CleanFit(NamedTuple):
    probability: Tensor  # float64, shape of the losses
    mixture: Mixture
    trusted: bool  # False: the modes are not apart or the weights rest on too few samples; then use 1 for all


@torch.no_grad()
def clean_posterior(x: Tensor, mixture: Mixture, monotone: bool = False) -> Tensor:
    """Posterior of the component with the smaller mean at log losses x, float64.

    Components of different widths make it turn back far out (a huge loss looks clean again when the clean component is
    the wider one). `monotone` holds x at the turning point, so that p never rises with the loss.
    """
    a, b, c = mixture.log_odds()
    x = x.double()
    if monotone and a:
        # The turning point -b / 2a lies beyond the upper mean for a > 0 and below the lower mean for a < 0.
        x = x.clamp(max=-b / (2 * a)) if a > 0 else x.clamp(min=-b / (2 * a))
    return ((a * x + b) * x + c).sigmoid()


@torch.no_grad()
def fit_clean(
    losses: Tensor,
    percentiles: tuple[float, float] = (0.1, 99.9),
    floor: float = -20.0,
    *,
    variance_floor: float = 1e-6,
    monotone: bool = False,
    min_sample_share: float = 0.2,
    min_separation: float = 1.0,
) -> CleanFit:
    """Probability that each label is clean, from one epoch's teacher losses (N,).

    x = ln(l + 1e-12), fitted on what lies within the percentiles, then clipped to them. Infinite losses count as large.
    """
    x, inside = clip_percentiles(log_loss(losses), *percentiles, floor)
    mixture = fit_mixture(x[inside], tol=1e-5, max_iter=500, variance_floor=variance_floor)
    probability = clean_posterior(x, mixture, monotone)
    share = float(effective_sample_size(probability)) / max(probability.numel(), 1)
    return CleanFit(probability, mixture, share >= min_sample_share and mixture.separation() >= min_separation)


@torch.no_grad()
def effective_sample_size(weights: Tensor) -> Tensor:
    """(sum p)^2 / sum p^2, from 1 to N; 0 where all weights are 0."""
    weights = weights.double()
    return weights.sum().square() / weights.square().sum().clamp_min(torch.finfo(torch.float64).tiny)


def start_queue(labels: Tensor, length: int) -> Tensor:
    """Queue (N, length), oldest label first, holding floor(length / 2) copies of the initial label at the new end."""
    queue = labels.new_full((len(labels), length), EMPTY)
    queue[:, length - length // 2 :] = labels.unsqueeze(1)
    return queue


def push(queue: Tensor, labels: Tensor) -> Tensor:
    """The queue (N, L) after the labels (N,) have come in and the oldest have gone."""
    return torch.cat([queue[:, 1:], labels.unsqueeze(1)], dim=1)


def vote(queue: Tensor, tie: Literal["newest", "oldest"] = "newest") -> Tensor:
    """The unique most frequent label of each row of queue (N, L): (N,). Empty places do not vote; a row of them: EMPTY.

    The last column is the newest. Where several labels tie, "newest" yields the last column even when it is not among
    the most frequent, "oldest" the one of the most frequent that came first, as Python's statistics.mode since 3.8.
    """
    filled = queue != EMPTY
    # L passes over (N, L) rather than one over (N, L, L): L is 5, N may be a million.
    counts = torch.stack([((queue == column.unsqueeze(1)) & filled).sum(dim=1) for column in queue.unbind(1)], dim=1)
    counts = counts * filled  # (N, L) how often the label at each place occurs
    best = counts.amax(dim=1, keepdim=True)  # (N, 1)
    leading = (counts == best) & filled
    winner = queue.gather(1, leading.int().argmax(dim=1, keepdim=True)).squeeze(1)
    if tie == "oldest":
        return winner
    # `best` places per winner: more leading places than that means a tie.
    unique = leading.sum(dim=1) == best.squeeze(1)
    return torch.where(unique, winner, queue[:, -1])
