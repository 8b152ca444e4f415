"""The mel axis as augmentation sees it: powers of waves from log-mels, and smooth random curves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spkssl.audio.spectrum import SpectrumConfig, mel, mel_edges, mel_filters

KNOTS = 10  # of a random curve
_LENGTH = 0.18  # correlation length of a random curve, as a part of the mel axis


def power_weights(config: SpectrumConfig) -> NDArray[np.float32]:
    """(F,) weights that turn mel energies into the power of the wave, up to one constant factor.

    Triangles sum to 1 at every bin between the outer centres, so a plain sum over bands is the power of the
    pre-emphasised spectrum; dividing each band by its mean |1 - a e^-jw|^2 takes the pre-emphasis back.
    """
    filters = mel_filters(config)  # (bins, F)
    omega = 2 * np.pi * np.arange(len(filters)) / config.fft_length
    a = config.preemphasis_coefficient
    emphasis = 1 + a * a - 2 * a * np.cos(omega)
    return (filters.sum(0) / (filters * emphasis[:, None]).sum(0)).astype(np.float32)


def band_places(config: SpectrumConfig) -> NDArray[np.float64]:
    """(F,) where the centres of the bands lie on the mel axis, 0 to 1."""
    return _place(mel_edges(config)[1:-1], config)


def bin_places(config: SpectrumConfig, num_bins: int) -> NDArray[np.float64]:
    """(num_bins,) where the bins of a real FFT lie; frequencies outside the mel axis are moved to its ends."""
    return _place(mel(np.linspace(0, config.sample_frequency / 2, num_bins)), config).clip(0, 1)


def band_edges(config: SpectrumConfig) -> NDArray[np.float64]:
    """(F + 2,) left edge of the first band, centres, right edge of the last."""
    return _place(mel_edges(config), config)


def curve_basis(places: NDArray[np.float64]) -> NDArray[np.float32]:
    """(KNOTS, len(places)): standard normal coefficients times this are a Gaussian process of variance 1."""
    knots = np.linspace(0, 1, KNOTS)
    root = np.linalg.cholesky(_kernel(knots, knots) + 1e-6 * np.eye(KNOTS))
    return np.linalg.solve(root, _kernel(knots, places)).astype(np.float32)  # L^-1 K(knots, x)


def _kernel(a: NDArray, b: NDArray) -> NDArray:
    return np.exp(-0.5 * ((a[:, None] - b[None]) / _LENGTH) ** 2)


def _place(mels: NDArray[np.float64], config: SpectrumConfig) -> NDArray[np.float64]:
    low, high = mel(config.low_freq), mel(config.top_freq)
    return (mels - low) / (high - low)
