"""The front-end inside the encoder: waves or log-mels in, normalised log-mels out. It travels in `encoder.pt`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from spkssl.audio.fbank import Fbank, FbankConfig
from spkssl.errors import complain


@dataclass(frozen=True)
class FrontendConfig:
    features: FbankConfig = field(default_factory=FbankConfig)
    norm: Literal["mean", "mean_var", "none"] = "mean"  # over the frames of the crop; mean_var: RDINO, SDPN, MeMo, SSRL
    log_floor: float | None = None  # raise log-mels below it: digital silence is an outlier that moves the mean


class Frontend(nn.Module):
    """Waves (B, samples) in +-1, or log-mels (B, T, F) as they are, -> normalised log-mels (B, T, F). No gradient."""

    def __init__(self, config: FrontendConfig) -> None:
        super().__init__()
        self.config = config
        self.fbank = Fbank(config.features)
        self.num_mels = self.fbank.dim

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        # Log-mels reach 30 where bfloat16 resolves 0.1, so autocast stays out.
        with torch.autocast(x.device.type, enabled=False):
            x = self.fbank(x.float()) if x.dim() == 2 else x.float()
            if x.dim() != 3 or x.shape[-1] != self.num_mels:
                expected = f"(B, samples) or (B, T, {self.num_mels})"
                raise complain("front-end", f"input has the wrong shape (got {tuple(x.shape)}, expected {expected})")
            if self.config.log_floor is not None:
                x = x.clamp(min=self.config.log_floor)
            if self.config.norm != "none":
                x = x - x.mean(1, keepdim=True)
            if self.config.norm == "mean_var":
                # Instance norm without affine: biased variance, eps 1e-5.
                x = x * (x.square().mean(1, keepdim=True) + 1e-5).rsqrt()
            return x
