"""Plans applied to audio, the way of the papers: batched FFT on the device the batch is on."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from spkssl.audio.augment.feats import mask_ends
from spkssl.audio.augment.material import Material
from spkssl.audio.augment.melaxis import band_edges, bin_places, curve_basis
from spkssl.audio.spectrum import SpectrumConfig

_TINY = 1e-20  # power below which a crop counts as silence
_RING = 4096  # samples a curve may ring over either end of the crop


def apply(x: Tensor, material: Material, spectrum: SpectrumConfig, snr_of: str = "each") -> Tensor:
    """(R, samples), changed in place and returned; rows without a plan keep their bits.

    Masks silence all samples of the masked frames, and in frequency all that the masked bands see: neighbours lose
    what they share with them, unlike in the feature domain.
    """
    m = material
    if len(m.rir_row):
        x[m.rir_row] = convolve(x[m.rir_row], m.rir[0])
    if len(m.noise_row):
        _add_noise(x, m, spectrum, snr_of)
    banded = m.mask_row[(m.mel_mask[..., 0] > 0).any(1)]
    if len(m.eq_row):
        x[m.eq_row] = _filter(x[m.eq_row], _curves(m.eq, x.shape[1], spectrum))
    if len(banded):
        gains = _band_stop(m.mel_mask[(m.mel_mask[..., 0] > 0).any(1)], x.shape[1], spectrum)
        x[banded] = _filter(x[banded], gains)
    if len(m.mask_row):
        x[m.mask_row] = _silence(x[m.mask_row], m.time_mask, spectrum)
    return x


def convolve(x: Tensor, response: Tensor) -> Tensor:
    """(P, S) with (P, L) -> the first S samples of the convolution; no delay is taken back."""
    samples = x.shape[1]
    # The size follows from the crop alone: a row's bits must not depend on which responses its batch drew.
    size = next_fast_len(2 * samples - 1, real=True)
    return torch.fft.irfft(torch.fft.rfft(x, size) * torch.fft.rfft(response[:, :samples], size), size)[:, :samples]


def _add_noise(x: Tensor, m: Material, spectrum: SpectrumConfig, snr_of: str) -> None:
    noise = m.noise  # (Q, S)
    if len(m.noise_eq):
        noise = _filter(noise, _curves(m.noise_eq, x.shape[1], spectrum))
    signal = x.square().mean(1)  # (R,)
    wanted = signal[m.noise_row] * 10 ** (-0.1 * m.snr)  # (Q,) power of the noise
    if snr_of == "each":
        gain = (wanted / noise.square().mean(1).clamp_min(_TINY)).sqrt()
        x.index_add_(0, m.noise_row, noise * gain[:, None])
        return
    total = torch.zeros_like(x).index_add_(0, m.noise_row, noise / noise.abs().amax(1, keepdim=True).clamp_min(_TINY))
    power = torch.zeros_like(signal).index_put_((m.noise_row,), wanted)
    x += total * (power / total.square().mean(1).clamp_min(_TINY)).sqrt()[:, None]


def _filter(x: Tensor, gains: Tensor) -> Tensor:
    """Multiply spectra by real gains (rows, bins): no phase, hence no delay."""
    size = 2 * (gains.shape[1] - 1)
    return torch.fft.irfft(torch.fft.rfft(x, size) * gains, size)[:, : x.shape[1]]


def _bins(samples: int) -> int:
    return next_fast_len((samples + _RING + 1) // 2) + 1


@lru_cache(8)
def _basis(samples: int, spectrum: SpectrumConfig) -> Tensor:
    return torch.from_numpy(curve_basis(bin_places(spectrum, _bins(samples))))  # (KNOTS, bins)


def _curves(coefficients: Tensor, samples: int, spectrum: SpectrumConfig) -> Tensor:
    return 10 ** (coefficients @ _basis(samples, spectrum).to(coefficients.device) / 20)  # (rows, bins)


def _band_stop(masks: Tensor, samples: int, spectrum: SpectrumConfig) -> Tensor:
    places = torch.from_numpy(bin_places(spectrum, _bins(samples)).astype(np.float32)).to(masks.device)
    edges = torch.from_numpy(band_edges(spectrum).astype(np.float32)).to(masks.device)
    first, end = (part.long() for part in mask_ends(masks, spectrum.num_mel_bins))
    low, high = edges[first], edges[(end + 1).clamp_max(len(edges) - 1)]  # (rows, masks) outer edges of the triangles
    inside = (places > low[..., None]) & (places < high[..., None]) & (end > first)[..., None]
    return 1.0 - inside.any(1).to(masks.dtype)


def _silence(x: Tensor, masks: Tensor, spectrum: SpectrumConfig) -> Tensor:
    shift, length = spectrum.frame_shift, spectrum.frame_length
    frames = 1 + (x.shape[1] - length) // shift
    first, end = mask_ends(masks, frames)
    at = torch.arange(x.shape[1], device=x.device)
    begin, stop = (first * shift)[..., None], ((end - 1) * shift + length)[..., None]
    inside = (at >= begin) & (at < stop) & (end > first)[..., None]
    return x.masked_fill(inside.any(1), 0.0)
