"""Source-filter synthesis by overlap-add in the frequency domain.

S(f, t) = P(f, t) G(f, t) V(f, t) voicing(t) + Q(f, t) V(f, t) (breath + aspiration)(t) + R(f, t) C(f) frication(t)

P is the spectrum of a band-limited pulse train, Q of noise modulated by the glottal cycle, R of white noise; G the
glottal formant and tilt (after Doval, d'Alessandro and Henrich's causal-anticausal model), V the cascade of formants
with a nasal pole-zero pair and the piriform notch, C the poles of the constriction.
"""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from spkssl.audio.synth import phones
from spkssl.audio.synth.articulation import Tract, articulate
from spkssl.audio.synth.filters import (
    FFT,
    HOP,
    SAMPLE_RATE,
    WINDOW,
    amplitude,
    cascade,
    response,
    section,
    unit_rms,
)
from spkssl.audio.synth.prosody import melody
from spkssl.audio.synth.speaker import Speaker, State
from spkssl.audio.synth.syllables import draw_phones, segment
from spkssl.audio.synth.variation import Variation

Array = NDArray[np.float64]
Wave = NDArray[np.float32]
Spectra = NDArray[np.complex128]

_HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)
_TAPS = np.arange(-7, 9)  # of the fractional delay that puts a pulse between samples
_BANDWIDTHS = np.array([60.0, 85.0, 120.0, 200.0, 300.0, 420.0, 550.0])  # B1..B7 in Hz
_PIRIFORM_BANDWIDTH = 900.0


def speak(
    speaker: Speaker, state: State, variation: Variation, rng: np.random.Generator, seconds: float | None = None
) -> Wave:
    """One utterance with an RMS of about 1, its length drawn from the variation unless given."""
    seconds = rng.uniform(*variation.seconds) if seconds is None else seconds
    rate = speaker.rate * state.rate * np.exp(0.04 * rng.standard_normal())
    said, lasts = draw_phones(speaker, seconds, rate, rng)
    return pronounce(speaker, state, variation, said, lasts, rng, seconds)


def pronounce(
    speaker: Speaker,
    state: State,
    variation: Variation,
    said: list[int],
    lasts: list[float],
    rng: np.random.Generator,
    seconds: float,
) -> Wave:
    """These phones with these durations, cut or held to so many seconds."""
    samples = int(seconds * SAMPLE_RATE)
    segments = segment(said, lasts, samples // HOP + 3)
    f0_scale = np.exp(variation.utterance_f0 * rng.standard_normal())
    effort_db = state.effort_db + rng.standard_normal()
    tract = articulate(speaker, state, segments, rng)
    f0 = melody(speaker, state, segments, seconds=seconds, f0_scale=f0_scale, effort_db=effort_db, rng=rng)
    pulses, cycle = _pulses(speaker, f0, rng)
    noise = rng.standard_normal(len(pulses), dtype=np.float32)
    modulated = noise * (1 + 0.6 * np.cos(2 * np.pi * cycle)).astype(np.float32)

    vocal = vocal_response(speaker, state, tract)
    breath = amplitude(-(speaker.hnr_db + state.hnr_db)) * tract.voicing * 0.35 + tract.aspiration * 0.25
    spectra = _spectra(pulses) * (glottal_response(speaker, f0, effort_db) * vocal * tract.voicing[:, None])
    spectra += _spectra(modulated) * (vocal * breath[:, None])
    _add_frication(spectra, speaker, state, tract, noise)
    wave = unit_rms(_overlap_add(spectra)[:samples]) * amplitude(0.5 * rng.standard_normal())
    return wave.astype(np.float32)


def vocal_response(speaker: Speaker, state: State, tract: Tract) -> Spectra:
    """V of every frame, (T, BINS): F1..F7, nasal pair, piriform notch; gain 1 at 0 Hz."""
    one = np.ones(len(tract.nasality))
    scale = speaker.tract * state.formants
    bandwidths = _BANDWIDTHS * speaker.bandwidths
    damping = 1 + tract.nasality[:, None] * [0.5, 0.3, 0.3]  # nasal coupling broadens the low formants
    poles = [section(tract.formants[:, i], bandwidths[i] * damping[:, i]) for i in range(3)]
    upper = speaker.upper * scale
    poles += [section(one * upper[i], one * bandwidths[3 + i]) for i in range(4) if upper[i] < 7700]
    # The nasal pole and zero cancel when oral; in nasals the zero moves to the place of the closure
    nasal_zero = speaker.nasal_pole + (tract.nasal_zero - speaker.nasal_pole) * tract.nasality
    zeros = [section(nasal_zero, one * speaker.nasal_bandwidth)]
    poles.append(section(one * speaker.nasal_pole, one * speaker.nasal_bandwidth))
    notch, width = one * speaker.piriform * scale, _PIRIFORM_BANDWIDTH - 650 * speaker.piriform_depth
    zeros.append(section(notch, one * width))
    poles.append(section(notch, one * _PIRIFORM_BANDWIDTH))
    top, bottom = cascade(*zeros), cascade(*poles)
    gain = np.abs(bottom.sum(1) / top.sum(1))  # polynomials at z = 1
    out = response(top)
    out /= response(bottom)
    out *= gain[:, None]
    return out


def glottal_response(speaker: Speaker, f0: Array, effort_db: float) -> Spectra:
    """G of every frame, (T, BINS): the glottal formant, its zero, and the spectral tilt."""
    hz = f0 * 0.62 / speaker.open_quotient * (speaker.asymmetry / 0.67)
    bandwidth = hz * (1.6 - speaker.asymmetry)
    tilt = _tilt_pole(float(np.clip(speaker.tilt_db - effort_db * 0.8, 0, 26)))
    one = np.ones(len(f0))
    resonance = section(hz, bandwidth)
    out = response(np.stack([one, -0.97 * one], axis=-1))
    out /= response(cascade(resonance, np.stack([one, -tilt * one], axis=-1)))
    out *= (np.abs(resonance.sum(1)) * (1 - tilt) * 25)[:, None]
    return out


def _tilt_pole(tilt_db: float) -> float:
    """The pole a of (1 - a) / (1 - a z^-1) that lies `tilt_db` under its gain at 0 Hz at 3 kHz."""
    ratio = 10 ** (tilt_db / 10)
    if ratio <= 1.001:
        return 0.0
    cosine = np.cos(2 * np.pi * 3000 / SAMPLE_RATE)
    half = (ratio - cosine) / (ratio - 1)
    return float(half - np.sqrt(half * half - 1))


def _pulses(speaker: Speaker, f0: Array, rng: np.random.Generator) -> tuple[Wave, Array]:
    """The band-limited pulse train, and the phase of the glottal cycle in turns, both (T * HOP,)."""
    time = np.arange(len(f0) * HOP)
    hz = np.interp(time, np.arange(len(f0)) * HOP, f0)
    cycle = np.cumsum(hz) / SAMPLE_RATE
    turns = np.arange(1, int(cycle[-1]))
    instant = np.interp(turns + speaker.jitter * rng.standard_normal(len(turns)), cycle, time)
    whole = np.floor(instant).astype(int)
    size = (1 + speaker.shimmer * rng.standard_normal(len(turns))) * np.sqrt(SAMPLE_RATE / hz[whole]) * 0.1
    offset = _TAPS - (instant - whole)[:, None]  # (pulses, taps)
    kernel = np.sinc(offset) * (0.5 + 0.5 * np.cos(np.pi * np.clip(offset / 8.5, -1, 1))) * size[:, None]
    place = (whole[:, None] + _TAPS).ravel()
    inside = (place >= 0) & (place < len(time))
    train = np.bincount(place[inside], kernel.ravel()[inside], minlength=len(time))
    return train.astype(np.float32), cycle


def _spectra(wave: Wave) -> NDArray[np.complex64]:
    """(T * HOP,) -> (T, BINS)"""
    padded = np.concatenate([wave, np.zeros(WINDOW, np.float32)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: len(wave) // HOP]
    return scipy.fft.rfft(frames * _HANN, FFT)


def _add_frication(spectra: Spectra, speaker: Speaker, state: State, tract: Tract, noise: Wave) -> None:
    loud = tract.frication > 1e-4
    if not (tract.frication > 1e-3).any():
        return
    source = _spectra(noise)
    scale = 0.4 + 0.6 * speaker.tract * state.formants  # a constriction moves less than the tract is long
    for place, (hz1, bandwidth1, hz2, bandwidth2) in enumerate(phones.PLACES.values()):
        frames = np.flatnonzero(loud & (tract.place == place))
        if not len(frames):
            continue
        hz = np.array([[hz1], [hz2]]) * scale * speaker.fricative_scale[place]
        poles = [section(h, np.array([b * speaker.fricative_bandwidth])) for h, b in zip(hz, (bandwidth1, bandwidth2))]
        shape = response(cascade(np.array([[1.0, -0.95]]), np.array([[1.0, -0.6]]))) / response(cascade(*poles))
        shape /= np.sqrt((np.abs(shape) ** 2).mean())
        spectra[frames] += source[frames] * (shape * (tract.frication[frames] * 0.55)[:, None])


def _overlap_add(spectra: Spectra) -> Wave:
    """(T, BINS) -> ((T + 8) * HOP,): each frame rings for the whole length of the FFT."""
    count, hops = len(spectra), FFT // HOP
    pieces = scipy.fft.irfft(spectra.astype(np.complex64), FFT).reshape(count, hops, HOP)
    out = np.zeros((count + hops, HOP), np.float32)
    for hop in range(hops):
        out[hop : hop + count] += pieces[:, hop]
    return out.ravel()
