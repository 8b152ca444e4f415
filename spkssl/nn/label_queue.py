"""Labels that a teacher votes on: each utterance's label, its last predictions, and the classes nobody is left in."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from spkssl.losses.noise_model import EMPTY, push, start_queue, vote


class LabelQueue(nn.Module):
    """Every rank holds the same: it is fed the gathered predictions of an epoch. Left out utterances have label -1."""

    labels: Tensor
    queue: Tensor
    removed: Tensor

    def __init__(self, labels: Tensor, classes: int, length: int, tie: Literal["newest", "oldest"] = "newest") -> None:
        super().__init__()
        self.tie: Literal["newest", "oldest"] = tie
        self.register_buffer("labels", labels.clone())  # (N,)
        self.register_buffer("queue", start_queue(labels, length))  # (N, L), the newest last
        self.register_buffer("removed", torch.ones(classes, dtype=torch.bool))  # (K,)
        self._remove_empty()

    def vote_with(self, index: Tensor, predictions: Tensor) -> Tensor:
        """(B,) what the vote would be if these predictions came in."""
        return vote(push(self.queue[index], predictions), self.tie)

    def remember(self, index: Tensor, predictions: Tensor) -> None:
        """Put a prediction into the queue of each utterance in `index`, none of which comes twice."""
        self.queue[index] = push(self.queue[index], predictions)

    def relabel(self) -> Tensor:
        """Vote; drop the classes that own nobody; the share of labels that changed, ().

        A class comes back when older predictions win a later vote.
        """
        voted = vote(self.queue, self.tie)
        voted = torch.where(voted == EMPTY, self.labels, voted)  # never predicted
        changed = (voted != self.labels).sum() / (self.labels >= 0).sum().clamp_min(1)
        self.labels.copy_(voted)
        self._remove_empty()
        return changed

    def active(self) -> Tensor:
        """How many classes own an utterance, ()."""
        return (~self.removed).sum()

    def _remove_empty(self) -> None:
        self.removed.fill_(True)
        self.removed[self.labels[self.labels >= 0]] = False
