"""Kaldi's framing and mel filters: what fbank, MFCC and the energy VAD have in common.

Follows Kaldi's feature-window, feature-functions and mel-computations. Waves are floats in +-1 and are brought to
the scale of int16 inside, as Kaldi's options (dither, energy floor) and its floor of the logarithm suppose.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spkssl.contract import FRAME_LENGTH, FRAME_SHIFT, SAMPLE_RATE

INT16 = 32768.0
LOG_FLOOR = float(np.finfo(np.float32).eps)  # Kaldi floors energies with float's epsilon, also in a double build
_BLOCK_CPU = 512  # frames at a time: the spectra of a block stay in the second-level cache
_BLOCK_GPU = 1 << 17  # frames at a time: about a GB of spectra


@dataclass(frozen=True)
class SpectrumConfig:
    """Kaldi's frame and mel options under their own names; lengths are given in samples, dither is off."""

    sample_frequency: int = SAMPLE_RATE
    frame_length: int = FRAME_LENGTH  # samples, Kaldi: 25 ms
    frame_shift: int = FRAME_SHIFT  # samples, Kaldi: 10 ms
    window_type: Literal["povey", "hamming", "hanning", "rectangular", "blackman", "sine"] = "povey"
    blackman_coeff: float = 0.42
    snip_edges: bool = True
    round_to_power_of_two: bool = True
    remove_dc_offset: bool = True
    preemphasis_coefficient: float = 0.97
    dither: float = 0.0  # Kaldi has 1.0, which makes features random
    low_freq: float = 20.0  # Hz
    high_freq: float = 0.0  # Hz; 0 or below: added to the Nyquist frequency
    num_mel_bins: int = 80  # Kaldi has 23
    raw_energy: bool = True  # energy before pre-emphasis and window
    energy_floor: float = 0.0  # 0: none
    htk_compat: bool = False  # energy last

    def __post_init__(self) -> None:
        nyquist = self.sample_frequency / 2
        if self.frame_length < 2 or self.frame_shift < 1:
            raise ValueError(f"frames of {self.frame_length} samples every {self.frame_shift} are not frames")
        if not 0 <= self.preemphasis_coefficient <= 1:
            raise ValueError(f"preemphasis_coefficient must be within [0, 1], got {self.preemphasis_coefficient}")
        if self.num_mel_bins < 3:
            raise ValueError(f"num_mel_bins must be at least 3, got {self.num_mel_bins}")
        if not 0 <= self.low_freq < self.top_freq <= nyquist:
            raise ValueError(f"mel filters from {self.low_freq} to {self.top_freq} Hz do not fit into 0..{nyquist} Hz")
        if self.dither < 0 or self.energy_floor < 0:
            raise ValueError("dither and energy_floor must not be negative")

    @property
    def top_freq(self) -> float:
        """Upper edge of the last mel filter in Hz."""
        return self.high_freq if self.high_freq > 0 else self.sample_frequency / 2 + self.high_freq

    @property
    def fft_length(self) -> int:
        if not self.round_to_power_of_two:
            return self.frame_length + self.frame_length % 2
        return 1 << (self.frame_length - 1).bit_length()

    def num_frames(self, samples: int) -> int:
        """How many frames a wave of this many samples has."""
        if not self.snip_edges:
            return (samples + self.frame_shift // 2) // self.frame_shift
        return 0 if samples < self.frame_length else 1 + (samples - self.frame_length) // self.frame_shift


def window(config: SpectrumConfig) -> NDArray[np.float64]:
    """The window function, (frame_length,)."""
    angle = 2 * math.pi * np.arange(config.frame_length) / (config.frame_length - 1)
    hann = 0.5 - 0.5 * np.cos(angle)
    if config.window_type == "povey":
        return hann**0.85  # like hamming, but zero at the ends
    if config.window_type == "hanning":
        return hann
    if config.window_type == "hamming":
        return 0.54 - 0.46 * np.cos(angle)
    if config.window_type == "sine":
        return np.sin(angle / 2)
    if config.window_type == "blackman":
        a = config.blackman_coeff
        return a - 0.5 * np.cos(angle) + (0.5 - a) * np.cos(2 * angle)
    return np.ones(config.frame_length)


def mel(hertz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """The mel scale, its logarithm in float as in Kaldi's double build too: that moves log-mels by 2e-4."""
    ratio = (1 + np.asarray(hertz, np.float64) / 700).astype(np.float32)
    # Rounded from a double logarithm: numpy's own float logarithm differs between processors.
    logarithm = np.log(ratio.astype(np.float64)).astype(np.float32)
    return (np.float32(1127) * logarithm).astype(np.float64)


def mel_edges(config: SpectrumConfig) -> NDArray[np.float64]:
    """Left edge, centres and right edge of the filters on the mel scale, (num_mel_bins + 2,)."""
    return np.linspace(mel(config.low_freq), mel(config.top_freq), config.num_mel_bins + 2)


def mel_filters(config: SpectrumConfig) -> NDArray[np.float64]:
    """Triangles linear in mel over the FFT bins, (fft_length / 2, num_mel_bins); the Nyquist bin has no weight."""
    bins = config.fft_length // 2
    place = mel(np.arange(bins) * (config.sample_frequency / config.fft_length))[:, None]  # (bins, 1)
    left, centre, right = (mel_edges(config)[i : i + config.num_mel_bins] for i in range(3))
    up, down = (place - left) / (centre - left), (right - place) / (right - centre)
    filters = np.maximum(np.minimum(up, down), 0.0)  # (bins, F)
    empty = np.flatnonzero(filters.sum(0) == 0)
    if len(empty):
        raise ValueError(f"num_mel_bins = {config.num_mel_bins} leaves filter {empty[0]} without any FFT bin")
    return filters


class Spectrum(nn.Module):
    """Waves (..., samples) in +-1 -> per frame what `_features` makes of its power spectrum and log-energy.

    Any device. Works in `dtype` whatever autocast says; frames are processed in blocks, so a long wave costs the
    memory of its samples and its features only. With dither, `generator` is required, on the device of the waves.
    """

    need_energy = False

    def __init__(self, config: SpectrumConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.dtype = dtype
        self._constant("window", window(config))
        self._constant("filters", mel_filters(config))

    def _constant(self, name: str, values: NDArray[np.float64]) -> None:
        # Not persistent: rebuilt from the config, so checkpoints do not carry them.
        self.register_buffer(name, torch.from_numpy(values).to(self.dtype), persistent=False)

    @property
    def dim(self) -> int:
        raise NotImplementedError

    def num_frames(self, samples: int) -> int:
        return self.config.num_frames(samples)

    def _features(self, power: Tensor, energy: Tensor | None) -> Tensor:
        """(b, t, fft_length / 2), (b, t) or None -> (b, t, dim)."""
        raise NotImplementedError

    def forward(self, waves: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if self.config.dither and generator is None:
            raise ValueError("dither needs a generator")
        lead, count = waves.shape[:-1], self.num_frames(waves.shape[-1])
        with torch.autocast(waves.device.type, enabled=False):
            flat = waves.reshape(math.prod(lead), waves.shape[-1]).to(self.dtype) * INT16  # (B, samples)
            blocks = [self._block(part, generator) for part in self._frames(flat, count)]
        if not blocks:
            return waves.new_zeros((*lead, count, self.dim), dtype=self.dtype)
        return torch.cat(blocks).reshape(*lead, count, self.dim)  # (..., T, F)

    def _frames(self, waves: Tensor, count: int) -> Iterator[Tensor]:
        """Blocks (b, t, frame_length) of all frames, wave after wave, as views."""
        if count == 0 or len(waves) == 0:
            return
        if not self.config.snip_edges:
            waves = self._mirror(waves, count)
        frames = waves.unfold(-1, self.config.frame_length, self.config.frame_shift)[:, :count]  # (B, T, L)
        block = _BLOCK_CPU if waves.device.type == "cpu" else _BLOCK_GPU
        rows = max(1, block // count)
        for i in range(0, len(frames), rows):
            for t in range(0, count, block):
                yield frames[i : i + rows, t : t + block]

    def _mirror(self, waves: Tensor, count: int) -> Tensor:
        """Waves continued so that frame t is centred at (t + 1/2) shifts; the end sample is repeated."""
        samples, shift, length = waves.shape[-1], self.config.frame_shift, self.config.frame_length
        first = shift // 2 - length // 2
        place = torch.arange(first, first + (count - 1) * shift + length, device=waves.device)
        place = place.remainder(2 * samples)  # ... 1 0 | 0 1 ... n-1 | n-1 n-2 ...
        return waves[:, torch.minimum(place, 2 * samples - 1 - place)]

    def _block(self, frames: Tensor, generator: torch.Generator | None) -> Tensor:
        config = self.config
        if config.dither:
            noise = torch.randn(frames.shape, generator=generator, dtype=frames.dtype, device=frames.device)
            frames = frames + config.dither * noise
        if config.remove_dc_offset:
            frames = frames - frames.mean(-1, keepdim=True)
        energy = self._log_energy(frames) if self.need_energy and config.raw_energy else None
        if config.preemphasis_coefficient:
            before = torch.cat([frames[..., :1], frames[..., :-1]], -1)
            frames = torch.add(frames, before, alpha=-config.preemphasis_coefficient)
        frames = frames * self.window
        if self.need_energy and not config.raw_energy:
            energy = self._log_energy(frames)
        spectrum = torch.fft.rfft(frames, n=config.fft_length)[..., :-1]  # (b, t, fft_length / 2)
        return self._features(spectrum.real.square() + spectrum.imag.square(), energy).flatten(0, 1)

    def _log_energy(self, frames: Tensor) -> Tensor:
        energy = frames.square().sum(-1).clamp_min(LOG_FLOOR).log()
        floor = self.config.energy_floor
        return energy.clamp_min(math.log(floor)) if floor > 0 else energy


class LogEnergy(Spectrum):
    """Waves -> (..., T) log-energy of each frame: column 0 of Kaldi's MFCC, what its energy VAD looks at."""

    need_energy = True

    @property
    def dim(self) -> int:
        return 1

    def forward(self, waves: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return super().forward(waves, generator)[..., 0]

    def _features(self, power: Tensor, energy: Tensor | None) -> Tensor:
        return energy[..., None]
