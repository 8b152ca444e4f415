"""One augmentation, ready to use: plans, the files they need, and their application in one input mode."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spkssl.audio.augment import feats, wave
from spkssl.audio.augment.bank import NoiseBank, RirBank
from spkssl.audio.augment.config import AugmentConfig
from spkssl.audio.augment.material import Material, gather
from spkssl.audio.augment.melaxis import band_places, curve_basis, power_weights
from spkssl.audio.augment.plan import Plan, Planner
from spkssl.audio.fbank import FbankConfig
from spkssl.errors import complain


class Augmenter:
    """Three steps: `plan` (numbers only), `gather` (reads files; may run in a worker), and the call (on the device)."""

    def __init__(
        self,
        config: AugmentConfig,
        mode: str,
        noises: NoiseBank | None = None,
        rirs: RirBank | None = None,
        fbank: FbankConfig | None = None,
    ) -> None:
        """`fbank` is what made the features, or what will be made of the audio."""
        self.config, self.mode, self.fbank = config, mode, fbank or FbankConfig()
        self.noises = noises if config.needs_noise else None
        self.rirs = rirs if config.needs_rirs else None
        where = f"augment {config.name}"
        if self.noises is not None and self.noises.store.mode != mode:
            raise complain(where, f"noises are opened as {self.noises.store.mode}, the input is {mode}")
        if mode == "feats" and self.noises is not None and self.noises.store.dim != self.fbank.num_mel_bins:
            what = f"noise features have {self.noises.store.dim} bands (expected {self.fbank.num_mel_bins})"
            raise complain(where, what, "make them with the training set's settings")
        if mode == "wave" and config.mask and config.mask_fill == "mean":
            raise complain(where, "mask_fill mean needs log-mels", "use mask_fill: floor or --input feats")
        self.planner = Planner(config, noises.kinds if noises else {}, len(rirs) if rirs else 0)
        self._weights = torch.from_numpy(power_weights(self.fbank))
        self._basis = torch.from_numpy(curve_basis(band_places(self.fbank)))

    def plan(self, uniforms: NDArray[np.float64]) -> Plan:
        return self.planner.plan(uniforms)

    def gather(self, plan: Plan, frames: int) -> Material:
        return gather(plan, frames, self.config, self.fbank, self.mode, self.noises, self.rirs)

    def __call__(self, x: Tensor, material: Material) -> Tensor:
        """(R, T, F) or (R, samples), changed in place and returned; on the device of x."""
        if self.mode == "wave":
            return wave.apply(x, material, self.fbank, self.config.snr_of)
        self._weights, self._basis = self._weights.to(x.device), self._basis.to(x.device)
        return feats.apply(x, material, self._weights, self._basis, self.config.snr_of, self.config.mask_fill)
