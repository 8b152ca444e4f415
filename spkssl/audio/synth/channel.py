"""What lies between mouth and file in one session: room, noise, equaliser, band limits, level."""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from spkssl.audio.synth.filters import BIN_HZ, BINS, amplitude, unit_rms
from spkssl.audio.synth.noise import Clips
from spkssl.audio.synth.room import draw_rir
from spkssl.audio.synth.variation import Variation

Array = NDArray[np.float64]
Wave = NDArray[np.float32]

# How often a session has which noise
NOISE_SHARES = {"white": 0.12, "pink": 0.22, "ambient": 0.26, "hum": 0.10, "music": 0.10, "babble": 0.20}
_HIGH_PASS, _LOW_PASS = (30.0, 150.0), (6000.0, 8000.0)  # Hz
_TELEPHONE_HIGH_PASS, _TELEPHONE_LOW_PASS = (200.0, 320.0), (3400.0, 4200.0)
_EQ_KNOTS, _EQ_LENGTH = 12, 0.18  # of the Gaussian process, its correlation length as a part of the mel axis
_SNR_DB = 2.0  # standard deviation from utterance to utterance
_HEADROOM_DB = (1.0, 12.0)  # of the peak below full scale


@dataclass(frozen=True, eq=False)
class Channel:
    gain: Array  # (BINS,) linear
    rir: Wave | None
    noise: str
    snr_db: float


def draw_channel(variation: Variation, rng: np.random.Generator) -> Channel:
    eq_db = _draw_eq(variation.eq_db, rng)
    low, high = rng.uniform(*_HIGH_PASS), rng.uniform(*_LOW_PASS)
    if rng.random() < variation.telephone:
        low, high = rng.uniform(*_TELEPHONE_HIGH_PASS), rng.uniform(*_TELEPHONE_LOW_PASS)
    reverberant = rng.random() < variation.reverberant
    rir = draw_rir(rng.uniform(*variation.rt60), rng) if reverberant else None
    noise = str(rng.choice(list(NOISE_SHARES), p=list(NOISE_SHARES.values())))
    return Channel(amplitude(eq_db + band_db(low, high)), rir, noise, rng.uniform(*variation.snr_db))


def band_db(low: float, high: float) -> Array:
    """(BINS,) Butterworth magnitudes, third order below `low` Hz and eighth order above `high` Hz."""
    return -10 * np.log10(1 + (low / np.maximum(BIN_HZ, 1)) ** 6) - 10 * np.log10(1 + (BIN_HZ / high) ** 16)


def transmit(wave: Wave, channel: Channel, clips: Clips, rng: np.random.Generator) -> NDArray[np.int16]:
    """The recording of an utterance: as long as the utterance, 16 bit, never clipped."""
    samples = len(wave)
    if channel.rir is not None:
        size = scipy.fft.next_fast_len(samples + len(channel.rir), real=True)
        wave = scipy.fft.irfft(scipy.fft.rfft(wave, size) * scipy.fft.rfft(channel.rir, size), size)[:samples]
    snr_db = channel.snr_db + _SNR_DB * rng.standard_normal()
    clip = clips.clip(channel.noise, int(rng.integers(clips.per_kind)))
    noise = np.resize(np.roll(clip, -rng.integers(len(clip))), samples)
    # Clips have an RMS of 1 as a whole; the noise passes through the equaliser as the speech does
    wave = _equalise(unit_rms(wave) + noise * np.float32(amplitude(-snr_db)), channel.gain)
    wave = wave / np.abs(wave).max() * amplitude(-rng.uniform(*_HEADROOM_DB))
    return np.round(wave * 32767).astype(np.int16)


def _equalise(wave: Wave, gain: Array) -> Wave:
    """Zero-phase filtering by the magnitudes on BINS, interpolated to the length of the wave."""
    size = scipy.fft.next_fast_len(len(wave), real=True)
    spectrum = scipy.fft.rfft(wave, size)
    spectrum *= np.interp(np.linspace(0, 1, len(spectrum)), np.linspace(0, 1, BINS), gain).astype(np.float32)
    return scipy.fft.irfft(spectrum, size)[: len(wave)]


def _draw_eq(sd_db: float, rng: np.random.Generator) -> Array:
    """(BINS,) dB: a Gaussian process over the mel axis, by a spline through its knots."""
    knots = np.linspace(0, 1, _EQ_KNOTS)
    covariance = np.exp(-0.5 * ((knots[:, None] - knots) / _EQ_LENGTH) ** 2) + 1e-6 * np.eye(_EQ_KNOTS)
    values = np.linalg.cholesky(covariance) @ rng.standard_normal(_EQ_KNOTS) * sd_db
    mel = np.log1p(BIN_HZ / 700) / np.log1p(BIN_HZ[-1] / 700)
    return CubicSpline(knots, values)(mel)
