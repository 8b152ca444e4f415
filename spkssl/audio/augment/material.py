"""What a batch of plans needs of noises and responses, as tensors that go to the training device."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spkssl.audio.augment.bank import NoiseBank, RirBank
from spkssl.audio.augment.config import AugmentConfig
from spkssl.audio.augment.plan import Plan
from spkssl.audio.spectrum import SpectrumConfig
from spkssl.contract import samples_of


class Material(NamedTuple):
    """Q noise crops, P reverberated rows, E equalised and M masked ones of a batch of R views."""

    noise: Tensor  # (Q, T, F) or (Q, samples)
    noise_row: Tensor  # (Q,) the view it is added to
    snr: Tensor  # (Q,) dB
    noise_eq: Tensor  # (Q, KNOTS) or (0, KNOTS)
    rir_row: Tensor  # (P,)
    rir: tuple[Tensor, ...]  # feats: early (P, F), late (P, F), tail (P, T); wave: responses (P, samples)
    eq_row: Tensor  # (E,)
    eq: Tensor  # (E, KNOTS)
    mask_row: Tensor  # (M,)
    time_mask: Tensor  # (M, masks, 2) width and start, 0 to 1
    mel_mask: Tensor  # (M, masks, 2)

    def to(self, device: str | torch.device) -> Material:
        moved = {k: v.to(device, non_blocking=True) for k, v in self._asdict().items() if k != "rir"}
        return Material(**moved, rir=tuple(part.to(device, non_blocking=True) for part in self.rir))


def gather(
    plan: Plan,
    frames: int,
    config: AugmentConfig,
    spectrum: SpectrumConfig,
    mode: str,
    noises: NoiseBank | None,
    rirs: RirBank | None,
) -> Material:
    """Read the noise crops and responses the plans name."""
    row, place = np.nonzero(plan.noise >= 0)  # view-major: the order in which noises are added
    if noises is not None:
        noise = noises.store.empty(len(row), frames)
        for q, (r, j) in enumerate(zip(row, place)):
            noises.crop(noise[q], int(plan.noise[r, j]), frames, float(plan.start[r, j]))
    else:
        noise = np.empty((0, frames, spectrum.num_mel_bins) if mode == "feats" else (0, samples_of(frames)), np.float32)
    rir_row = np.flatnonzero(plan.rir >= 0)
    gains = plan.rir_gain[rir_row]
    chosen = plan.rir[rir_row]
    if mode == "feats":
        responses = _decays(chosen, gains, frames, config, spectrum, rirs)
    else:
        responses = _waves(chosen, gains, samples_of(frames), config, rirs)
    eq_row = np.flatnonzero(plan.eq.any(1))
    mask_row = np.flatnonzero((plan.time_mask[..., 0] > 0).any(1) | (plan.mel_mask[..., 0] > 0).any(1))
    return Material(
        noise=torch.from_numpy(noise),
        noise_row=torch.from_numpy(row),
        snr=torch.from_numpy(plan.snr[row, place]),
        noise_eq=torch.from_numpy(plan.noise_eq[row if config.noise_eq_sd else row[:0]]),
        rir_row=torch.from_numpy(rir_row),
        rir=responses,
        eq_row=torch.from_numpy(eq_row),
        eq=torch.from_numpy(plan.eq[eq_row]),
        mask_row=torch.from_numpy(mask_row),
        time_mask=torch.from_numpy(plan.time_mask[mask_row].astype(np.float32)),
        mel_mask=torch.from_numpy(plan.mel_mask[mask_row].astype(np.float32)),
    )


def _decays(
    chosen: NDArray,
    gains: NDArray,
    frames: int,
    config: AugmentConfig,
    spectrum: SpectrumConfig,
    rirs: RirBank | None,
) -> tuple[Tensor, ...]:
    early, late = np.empty((2, len(chosen), spectrum.num_mel_bins), np.float32)
    tail = np.zeros((len(chosen), frames), np.float32)
    for p, (row, gain) in enumerate(zip(chosen, gains)):
        assert rirs is not None, "a plan with reverberation was drawn without RIRs"
        found = rirs.decay(int(row), config.rir_scale, config.rir_from_peak, spectrum)
        early[p], late[p] = gain**2 * found.early, gain**2 * found.late
        count = min(frames, len(found.tail))
        tail[p, :count] = found.tail[:count]
    return torch.from_numpy(early), torch.from_numpy(late), torch.from_numpy(tail)


def _waves(
    chosen: NDArray, gains: NDArray, samples: int, config: AugmentConfig, rirs: RirBank | None
) -> tuple[Tensor, ...]:
    out = np.zeros((len(chosen), samples), np.float32)
    for p, (row, gain) in enumerate(zip(chosen, gains)):
        assert rirs is not None, "a plan with reverberation was drawn without RIRs"
        wave = rirs.wave(int(row), config.rir_scale, config.rir_from_peak)[:samples]
        out[p, : len(wave)] = gain * wave
    return (torch.from_numpy(out),)
