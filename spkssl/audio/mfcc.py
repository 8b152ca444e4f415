"""Kaldi's MFCC (compute-mfcc-feats) in torch: batched, on any device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spkssl.audio.spectrum import LOG_FLOOR, Spectrum, SpectrumConfig


@dataclass(frozen=True)
class MfccConfig(SpectrumConfig):
    num_mel_bins: int = 23
    num_ceps: int = 13
    use_energy: bool = True  # log-energy in place of C0
    cepstral_lifter: float = 22.0  # 0: none

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.num_ceps <= self.num_mel_bins:
            raise ValueError(f"num_ceps must be within 1..num_mel_bins = {self.num_mel_bins}, got {self.num_ceps}")


def dct(config: MfccConfig) -> NDArray[np.float64]:
    """Liftered orthonormal DCT-II, (num_mel_bins, num_ceps)."""
    bins, k = config.num_mel_bins, np.arange(config.num_ceps)
    matrix = math.sqrt(2 / bins) * np.cos(math.pi / bins * np.outer(np.arange(bins) + 0.5, k))
    matrix[:, 0] = math.sqrt(1 / bins)
    if config.cepstral_lifter:
        matrix *= 1 + 0.5 * config.cepstral_lifter * np.sin(math.pi * k / config.cepstral_lifter)
    if config.htk_compat and not config.use_energy:
        matrix[:, 0] *= math.sqrt(2)  # HTK's C0 is not scaled to be orthonormal
    return matrix


class Mfcc(Spectrum):
    """Waves (..., samples) in +-1 -> (..., T, num_ceps) cepstra."""

    config: MfccConfig

    def __init__(self, config: MfccConfig | None = None, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(config or MfccConfig(), dtype)
        self.need_energy = self.config.use_energy
        self._constant("dct", dct(self.config))

    @property
    def dim(self) -> int:
        return self.config.num_ceps

    def _features(self, power: Tensor, energy: Tensor | None) -> Tensor:
        cepstra = (power @ self.filters).clamp_min(LOG_FLOOR).log() @ self.dct  # (b, t, num_ceps)
        first = cepstra[..., :1] if energy is None else energy[..., None]
        parts = (cepstra[..., 1:], first) if self.config.htk_compat else (first, cepstra[..., 1:])
        return torch.cat(parts, -1)
