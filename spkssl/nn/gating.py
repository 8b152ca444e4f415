"""The state of a loss gate: its threshold, and what it made of every utterance. What gated methods stand on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spkssl import dist
from spkssl.losses.gate import dynamic_threshold, gated_mean, keep_below

UNUSED = -1  # the label of an utterance that taught nothing


@dataclass(frozen=True)
class MixtureConfig:
    """When two Gaussians on ln(loss) are believed; otherwise the gate stays where it was."""

    floor: float = -14.0  # log losses below are clean beyond doubt and would claim a component of their own
    min_count: int = 500  # losses above the floor
    min_separation: float = 1.0  # of the means, in pooled standard deviations
    acceptance: tuple[float, float] = (0.10, 0.95)  # a gate that would keep less or more is a failed fit


class LossGate(nn.Module):
    """Open until a threshold is set. Every rank holds the same: it is fed the gathered records of an epoch."""

    threshold: Tensor
    losses: Tensor
    accepted: Tensor
    labels: Tensor
    taught: Tensor
    parts: Tensor
    told: Tensor

    def __init__(self, num_utts: int) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(math.inf))  # on the loss itself
        # Of each utterance's last visit; one never visited has an infinite loss and taught nothing.
        self.register_buffer("losses", torch.full((num_utts,), math.inf))  # (N,)
        self.register_buffer("accepted", torch.zeros(num_utts, dtype=torch.bool))  # (N,) by the gate
        self.register_buffer("labels", torch.full((num_utts,), UNUSED))  # (N,) the label it taught
        self.register_buffer("taught", torch.tensor(0))  # samples of the step that is being made
        # Micro-batches of that step, and what `idle` said of them in sum; between steps both are 0.
        self.register_buffer("parts", torch.tensor(0), persistent=False)
        self.register_buffer("told", torch.tensor(0), persistent=False)

    def keep(self, losses: Tensor) -> Tensor:
        """(B,) bool: who passes, by the loss of this very step."""
        return keep_below(losses, self.threshold)

    def mean(self, losses: Tensor, mask: Tensor) -> Tensor:
        """The mean over what the ranks together keep; 0 with zero gradient where they keep nothing.

        A rank's part is weighted so that the average over ranks is that mean, though they keep different numbers.
        """
        share = mask.sum() * dist.world_size() / self.count(mask).clamp_min(1)
        return gated_mean(losses, mask) * share

    def count(self, mask: Tensor) -> Tensor:
        """How many samples of all ranks teach; remembered until the step is made."""
        count = dist.total(mask.sum())
        self.taught += count
        return count

    def idle(self) -> Tensor:
        """The scalar `idle` of a micro-batch, (): the mean over those of a step is 1. if in none of them any sample of
        any rank taught, else 0. To be asked once for each, after `count`.

        The first one that teaches takes back what those before it said, for they knew of no other.
        """
        self.parts += 1
        now = self.parts * (self.taught == 0) - self.told
        self.told += now
        return now.float()

    def drop_idle_step(self, parameters: Iterable[nn.Parameter]) -> None:
        """Take the gradients away when nobody taught: zeros would still let momentum and weight decay move the net."""
        if not int(self.taught):
            for parameter in parameters:
                parameter.grad = None
        for count in (self.taught, self.parts, self.told):
            count.zero_()

    def remember(self, records: dict[str, Tensor]) -> None:
        """Keep an epoch's `loss`, `accepted` and `label` of the utterances in `index`."""
        index = records["index"]
        self.losses[index] = records["loss"].to(self.losses.dtype)
        self.accepted[index] = records["accepted"]
        self.labels[index] = records["label"]

    def set(self, threshold: float | None) -> None:
        """The threshold of the next epoch; None leaves it as it is. Rank 0's counts, to the last bit."""
        if threshold is not None:
            self.threshold.fill_(threshold)
        dist.broadcast(self.threshold)

    def fit(self, losses: Tensor, config: MixtureConfig) -> None:
        """Set the threshold where two Gaussians on the log losses (N,) of the last epoch meet, if they do."""
        found = dynamic_threshold(
            losses,
            floor=config.floor,
            min_count=config.min_count,
            min_separation=config.min_separation,
            acceptance=config.acceptance,
        )
        self.set(None if found is None else math.exp(found))

    def per_utterance(self) -> dict[str, Tensor]:
        """(N,) each; `label` is the label that taught, -1 where none did."""
        return {"loss": self.losses, "accepted": self.accepted, "label": self.labels}
