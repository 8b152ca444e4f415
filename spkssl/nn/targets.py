"""The teacher's soft assignments that distillation aims at: sharpened, and kept from collapsing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from spkssl import dist
from spkssl.losses.dino import centre_update, centred_targets, entropy
from spkssl.losses.sinkhorn import sinkhorn_targets


@dataclass(frozen=True)
class TargetConfig:
    balance: Literal["centre", "sinkhorn"] = "centre"
    centre_momentum: float = 0.9  # DINO
    rounds: int = 3  # of Sinkhorn-Knopp


class SharpTargets(nn.Module):
    """Teacher logits (G, B, K) -> targets (G, B, K); holds the centre, which it updates after use."""

    def __init__(self, config: TargetConfig, outputs: int) -> None:
        super().__init__()
        self.config = config
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(outputs))

    @torch.no_grad()
    def forward(self, logits: Tensor, temperature: float) -> Tensor:
        if self.config.balance == "sinkhorn":
            return sinkhorn_targets(logits, temperature, self.config.rounds, dist.total)
        targets = centred_targets(logits, self.centre, temperature)  # with the centre before its update
        self.centre.copy_(centre_update(self.centre, logits, self.config.centre_momentum, dist.total))
        return targets

    def scalars(self, targets: Tensor) -> dict[str, Tensor]:
        """entropy: of the mean target over ln K (1: all outputs in use); target_entropy: of one target, in nats."""
        mean = dist.mean(targets.flatten(0, -2).mean(dim=0))
        return {"entropy": entropy(mean) / math.log(targets.shape[-1]), "target_entropy": entropy(targets)}
