"""The hooks of the method contract that most methods leave empty."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from spkssl.contract import Progress


class Hooks(nn.Module):
    """All trainable parameters in one group; nothing happens between steps or epochs."""

    def param_groups(self) -> list[dict[str, Any]]:
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def after_backward(self, t: Progress) -> None:
        """Nothing to freeze."""

    def after_step(self, t: Progress) -> None:
        """Nothing to follow."""

    def end_epoch(self, records: dict[str, Tensor], t: Progress) -> None:
        """Nothing to decide."""

    def per_utterance(self) -> dict[str, Tensor]:
        """Nothing to tell about single utterances."""
        return {}
