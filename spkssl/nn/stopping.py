"""When an auxiliary term of a loss leaves a training for good: the rules, and the flag with the history behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spkssl.contract import Progress
from spkssl.losses.plateau import disagreement_epoch, plateau_epoch


@dataclass(frozen=True)
class StopConfig:
    """How MeMo ends its contrastive term. Its paper says that it does; the rules and their numbers are ours.

    plateau: the term has stopped falling; gradient: its gradient turns against that of the other terms; fixed_epoch:
    after so many epochs; never.
    """

    rule: Literal["plateau", "gradient", "fixed_epoch", "never"] = "plateau"
    earliest: int = 5  # plateau, gradient: epochs before any is judged
    latest: float = 0.2  # plateau: share of the epochs after which it ends in any case, the temperature's warm-up
    window: int = 3  # plateau: epochs back that the smoothed mean is compared with
    tolerance: float = 0.02  # plateau: relative fall over the window below which an epoch counts as flat
    patience: int = 2  # plateau, gradient: flat or opposed epochs in a row
    epoch: int = 16  # fixed_epoch: how many; the released runs with the term were evaluated at checkpoint 16
    every: int = 10  # gradient: steps from one measurement to the next

    def __post_init__(self) -> None:
        if min(self.window, self.patience, self.epoch, self.every) < 1 or self.earliest < 0:
            raise ValueError("window, patience, epoch and every must be at least 1, earliest at least 0")
        if not 0 < self.latest <= 1:
            raise ValueError(f"latest is a share of the epochs, above 0 and at most 1 (got {self.latest})")

    def last_epoch(self, history: list[float], t: Progress) -> int | None:
        """The last epoch with the term, counted from 0, given the epoch means so far; None: it goes on."""
        if self.rule == "plateau":
            return plateau_epoch(
                history,
                earliest=self.earliest,
                latest=max(1, round(self.latest * t.epochs)),
                window=self.window,
                tolerance=self.tolerance,
                patience=self.patience,
            )
        if self.rule == "gradient":
            return disagreement_epoch(history, earliest=self.earliest, patience=self.patience)
        return t.epoch if self.rule == "fixed_epoch" and t.epoch + 1 >= self.epoch else None


class Stop(nn.Module):
    """On until its rule speaks, then off: there is no way back, and a checkpoint holds all of it."""

    history: Tensor
    last: Tensor

    def __init__(self, config: StopConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("history", torch.zeros(0, dtype=torch.float64))  # epoch means of what the rule watches
        self.register_buffer("last", torch.tensor(-1))  # last epoch with the term; -1 while on

    @property
    def on(self) -> bool:
        return int(self.last) < 0

    def end_epoch(self, mean: float, t: Progress) -> None:
        """Take in the epoch's mean, and decide; does nothing once off."""
        if not self.on:
            return
        self.history = torch.cat([self.history, self.history.new_tensor([mean])])
        last = self.config.last_epoch(self.history.tolist(), t)
        if last is not None:
            self.last.fill_(last)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(f"{prefix}history")
        if saved is not None:  # as long as the run it comes from
            self.history = self.history.new_empty(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)
