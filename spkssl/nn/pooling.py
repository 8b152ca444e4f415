"""From frames to one vector: plain statistics, and statistics under an attention over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class StatsPooling(nn.Module):
    """Mean and sqrt(unbiased variance + 1e-7) over time: wespeaker's TSTP. (B, C, T) -> (B, 2C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_dim = 2 * channels

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = _wide(x)
            mean = x.mean(-1, keepdim=True)
            # Not torch.var: one frame would give nan.
            var = (x - mean).square().sum(-1) / max(x.shape[-1] - 1, 1)
            return torch.cat((mean.squeeze(-1), (var + 1e-7).sqrt()), 1)


class AttentiveStats(nn.Module):
    """Mean and deviation of every channel under its own softmax attention over time. (B, C, T) -> (B, 2C).

    The attention sees the frame and the mean and deviation of the whole crop (ECAPA-TDNN, arXiv 2005.07143, sec. 3.3).
    """

    def __init__(
        self,
        channels: int,
        bottleneck: int,
        *,
        norm: bool = True,  # ReLU and BatchNorm before the tanh
        var_floor: float = 1e-12,
        context_correction: int = 0,  # 1: unbiased variance in the context
    ) -> None:
        super().__init__()
        self.out_dim = 2 * channels
        self.var_floor, self.context_correction = var_floor, context_correction
        self.squeeze = nn.Conv1d(3 * channels, bottleneck, 1)
        self.norm = nn.Sequential(nn.ReLU(), nn.BatchNorm1d(bottleneck)) if norm else nn.Identity()
        self.expand = nn.Conv1d(bottleneck, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            wide = _wide(x)
            mean = wide.mean(-1, keepdim=True)  # (B, C, 1)
            offset = wide - mean  # everything below is a moment of this: no cancellation, and one pass fewer
            square = offset.square()
            var = square.sum(-1, keepdim=True) / max(x.shape[-1] - self.context_correction, 1)
            std = var.clamp(min=self.var_floor).sqrt()
        # The context is the same in every frame: its product is made once per crop instead of once per frame.
        frame, rest = self.squeeze.weight.split((x.shape[1], 2 * x.shape[1]), 1)
        context = F.conv1d(torch.cat((mean, std), 1).to(x.dtype), rest, self.squeeze.bias)
        hidden = F.conv1d(x, frame) + context  # (B, bottleneck, T)
        scores = self.expand(torch.tanh(self.norm(hidden)))  # (B, C, T)
        with torch.autocast(x.device.type, enabled=False):
            weight = torch.softmax(_wide(scores), -1)
            shift = (weight * offset).sum(-1)  # (B, C)
            var = (weight * square).sum(-1) - shift.square()
            return torch.cat((mean.squeeze(-1) + shift, var.clamp(min=self.var_floor).sqrt()), 1)  # (B, 2C)


def _wide(x: Tensor) -> Tensor:
    """At least float32: moments and softmax over time are not for half precision."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
