"""A student and its moving-average teacher, seen through kinds of views; what all DINO-like methods stand on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spkssl.nn import ema


def encode_views(encoder: nn.Module, views: Tensor) -> Tensor:
    """(B, n, ...) -> (n, B, D): all crops of one kind in one pass, which is one set of BatchNorm statistics."""
    rows = views.transpose(0, 1).flatten(0, 1)  # (n B, ...)
    return encoder(rows).unflatten(0, (views.shape[1], views.shape[0]))  # (n, B, D)


class Branch(nn.Module):
    """Encoder and head."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, kinds: Sequence[Tensor]) -> Tensor:
        """Embeddings (V, B, D) of kinds of views (B, n, ...), in the order given; each kind is its own pass."""
        return torch.cat([encode_views(self.encoder, views) for views in kinds])


class StudentTeacher(nn.Module):
    """Two equal branches; the teacher takes no gradient and follows the student."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.student = Branch(encoder, head)
        self.teacher = ema.frozen_copy(self.student)

    def follow(self, momentum: float) -> None:
        """Parameters only: the teacher runs in train mode and keeps its own BatchNorm statistics."""
        ema.update(self.teacher, self.student, momentum, buffers="keep")
