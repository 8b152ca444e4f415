"""Plans applied to log-mels.

A crop's power is sum_t sum_b w_b exp x_tb with the weights of `melaxis.power_weights`, for speech and noise alike:
this is the power of the wave up to one factor, so an SNR means the same as on audio (there are no cross terms: they
vanish on average). Reverberation is a convolution of the power envelopes (`rir.Decay`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spkssl.audio.augment.material import Material
from spkssl.audio.spectrum import LOG_FLOOR

_NATS = math.log(10) / 10  # per dB of power
_SILENCE = math.log(LOG_FLOOR)


def apply(
    x: Tensor, material: Material, weights: Tensor, basis: Tensor, snr_of: str = "each", mask_fill: str = "floor"
) -> Tensor:
    """(R, T, F) log-mels, changed in place and returned; rows without a plan keep their bits.

    `weights` (F,): power_weights; `basis` (KNOTS, F): curve_basis at the bands.
    """
    m = material
    active, place = torch.unique(torch.cat([m.rir_row, m.noise_row]), return_inverse=True)
    if len(active):
        power = x[active].exp()  # (A, T, F)
        rir_at, noise_at = place[: len(m.rir_row)], place[len(m.rir_row) :]
        if len(rir_at):
            power[rir_at] = _reverberate(power[rir_at], *m.rir)
        if len(noise_at):
            _add_noise(power, noise_at, m, weights, basis, snr_of)
        x[active] = power.clamp_(LOG_FLOOR).log_()
    if len(m.eq_row):
        x[m.eq_row] = (x[m.eq_row] + (_NATS * (m.eq @ basis))[:, None]).clamp_min(_SILENCE)
    if len(m.mask_row):
        x[m.mask_row] = _mask(x[m.mask_row], m, mask_fill)
    return x


def _reverberate(power: Tensor, early: Tensor, late: Tensor, tail: Tensor) -> Tensor:
    rows, frames, _ = power.shape
    # hankel[t, s] = tail[t - (T-1-s)]: times the reversed power it is the causal convolution with the tail.
    padded = torch.cat([tail.new_zeros(rows, frames - 1), tail], 1)  # (P, 2T-1)
    hankel = padded.as_strided((rows, frames, frames), (2 * frames - 1, 1, 1))
    echo = torch.bmm(hankel, power.flip(1))  # (P, T, F)
    return power.mul_(early[:, None]).addcmul_(echo, late[:, None])


def _add_noise(power: Tensor, rows: Tensor, m: Material, weights: Tensor, basis: Tensor, snr_of: str) -> None:
    noise = m.noise
    if len(m.noise_eq):
        noise = noise + (_NATS * (m.noise_eq @ basis))[:, None]
    noise = noise.exp()  # (Q, T, F)
    signal = (power @ weights).sum(1)[rows]  # (Q,)
    level = (noise @ weights).sum(1)
    gain = signal / level * 10 ** (-0.1 * m.snr)
    if snr_of == "sum":  # noises at equal level: their powers add, so each gets its share
        gain = gain / torch.bincount(rows, minlength=len(power))[rows]
    power.index_add_(0, rows, noise.mul_(gain[:, None, None]))


def _mask(x: Tensor, m: Material, fill: str) -> Tensor:
    hit = bands_hit(m.time_mask, x.shape[1])[:, :, None] | bands_hit(m.mel_mask, x.shape[2])[:, None]  # (M, T, F)
    value = x.mean(1, keepdim=True) if fill == "mean" else torch.full_like(x[:, :1], _SILENCE)
    return torch.where(hit, value, x)


def bands_hit(masks: Tensor, size: int) -> Tensor:
    """(M, masks, 2) widths and starts -> (M, size) whether some mask covers the place."""
    first, last = mask_ends(masks, size)
    at = torch.arange(size, device=masks.device)
    return ((at >= first[..., None]) & (at < last[..., None])).any(1)


def mask_ends(masks: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(M, masks, 2) -> first and end (M, masks) among `size` places."""
    width = masks[..., 0].clamp_max(size)
    first = torch.floor(masks[..., 1] * (size - width + 1)).clamp_max(size - width)
    return first, first + width
