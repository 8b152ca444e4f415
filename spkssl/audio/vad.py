"""Kaldi's energy-based voice activity decision (compute-vad)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class VadConfig:
    """Kaldi's --vad-* options; the defaults are those of its egs/voxceleb/v2/conf/vad.conf."""

    energy_threshold: float = 5.5
    energy_mean_scale: float = 0.5
    proportion_threshold: float = 0.12
    frames_context: int = 2  # frames to either side

    def __post_init__(self) -> None:
        if not 0 < self.proportion_threshold < 1:
            raise ValueError(f"proportion_threshold must be within (0, 1), got {self.proportion_threshold}")
        if self.energy_mean_scale < 0 or self.frames_context < 0:
            raise ValueError("energy_mean_scale and frames_context must not be negative")


def voiced(energy: Tensor, config: VadConfig = VadConfig()) -> Tensor:
    """Log-energies (..., T) -> bool (..., T): which frames are speech.

    A frame is, when among those within the context, cut at the ends, enough lie above threshold + scale * mean(E).
    """
    frames = energy.shape[-1]
    level = config.energy_threshold + config.energy_mean_scale * energy.double().mean(-1, keepdim=True)
    loud = (energy > level).long().cumsum(-1)  # (..., T)
    loud = torch.cat([torch.zeros_like(loud[..., :1]), loud], -1)  # (..., T + 1)
    t = torch.arange(frames, device=energy.device)
    start, stop = (t - config.frames_context).clamp_min(0), (t + config.frames_context + 1).clamp_max(frames)
    count = loud[..., stop] - loud[..., start]
    return count >= (stop - start) * config.proportion_threshold
