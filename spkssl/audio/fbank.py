"""Kaldi's log-mel filter bank (compute-fbank-feats) in torch: batched, on any device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spkssl.audio.spectrum import LOG_FLOOR, Spectrum, SpectrumConfig


@dataclass(frozen=True)
class FbankConfig(SpectrumConfig):
    use_energy: bool = False
    use_log_fbank: bool = True
    use_power: bool = True  # power rather than magnitude spectrum


class Fbank(Spectrum):
    """Waves (..., samples) in +-1 -> (..., T, F) log-mel energies; F is one more with use_energy."""

    config: FbankConfig

    def __init__(self, config: FbankConfig | None = None, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(config or FbankConfig(), dtype)
        self.need_energy = self.config.use_energy

    @property
    def dim(self) -> int:
        return self.config.num_mel_bins + self.config.use_energy

    def _features(self, power: Tensor, energy: Tensor | None) -> Tensor:
        mels = (power if self.config.use_power else power.sqrt()) @ self.filters  # (b, t, F)
        if self.config.use_log_fbank:
            mels = mels.clamp_min(LOG_FLOOR).log()
        if energy is None:
            return mels
        parts = (mels, energy[..., None]) if self.config.htk_compat else (energy[..., None], mels)
        return torch.cat(parts, -1)
