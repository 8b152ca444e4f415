"""Filters that change from frame to frame, evaluated for all frames at once on the bins of the FFT."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SAMPLE_RATE = 16000
HOP, WINDOW, FFT = 128, 256, 1024  # samples
BINS = FFT // 2 + 1
BIN_HZ = np.arange(BINS) * SAMPLE_RATE / FFT

Array = NDArray[np.float64]

_MAX_TAPS = 24
_PHASE = np.outer(np.arange(_MAX_TAPS), 2 * np.pi * np.arange(BINS) / FFT)
_COS, _SIN = np.cos(_PHASE), -np.sin(_PHASE)  # (taps, BINS)


def section(hz: Array, bandwidth: Array) -> Array:
    """Coefficients (frames, 3) of second-order sections 1 - 2 r cos(w) z^-1 + r^2 z^-2."""
    r = np.exp(-np.pi * np.asarray(bandwidth) / SAMPLE_RATE)
    a = 2 * r * np.cos(2 * np.pi * np.minimum(hz, 7800) / SAMPLE_RATE)
    return np.stack([np.ones_like(a), -a, np.broadcast_to(r * r, a.shape)], axis=-1)


def cascade(*polynomials: Array) -> Array:
    """The product of polynomials in z^-1, frame by frame: (frames, taps)."""
    product, *rest = polynomials
    for factor in rest:
        out = np.zeros((len(product), product.shape[1] + factor.shape[1] - 1))
        for tap in range(factor.shape[1]):
            out[:, tap : tap + product.shape[1]] += product * factor[:, tap, None]
        product = out
    return product


def response(polynomial: Array) -> NDArray[np.complex128]:
    """(frames, taps) -> (frames, BINS). Two real products with fixed tables: far cheaper than section by section."""
    taps = polynomial.shape[1]
    out = np.empty((len(polynomial), BINS), dtype=np.complex128)
    out.real = polynomial @ _COS[:taps]
    out.imag = polynomial @ _SIN[:taps]
    return out


def smooth(track: Array, ms: float) -> Array:
    """A track of frames (frames, ...) smoothed by a Hann kernel of this half width; the ends are held."""
    half = max(1, round(ms / 1000 * SAMPLE_RATE / HOP))
    kernel = np.hanning(2 * half + 3)[1:-1]
    return ndimage.correlate1d(track, kernel / kernel.sum(), axis=0, mode="nearest")


def amplitude(db: Array | float) -> Array | float:
    return 10 ** (np.asarray(db) / 20)


def unit_rms(wave: NDArray) -> NDArray:
    return wave / (np.sqrt(np.mean(wave * wave)) + 1e-9)
