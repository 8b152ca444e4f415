"""The melody: declination in each phrase, accents on vowels, a fall (and at times creak) at phrase ends."""

import numpy as np
from numpy.typing import NDArray

from spkssl.audio.synth import phones
from spkssl.audio.synth.filters import HOP, SAMPLE_RATE, smooth
from spkssl.audio.synth.speaker import Speaker, State
from spkssl.audio.synth.syllables import Segments

Array = NDArray[np.float64]

_LOWEST, _HIGHEST = 55.0, 420.0  # Hz
_DECLINES_SECONDS = 2.0  # then the melody stays level
_CREAK = 0.35  # log f0
_MICRO, _MICRO_STEP = 0.01, 0.08  # log f0, seconds between knots


def melody(
    speaker: Speaker,
    state: State,
    segments: Segments,
    *,
    seconds: float,
    f0_scale: float,
    effort_db: float,
    rng: np.random.Generator,
) -> Array:
    """f0 in Hz, (T,). `f0_scale` and `effort_db` are those of the utterance."""
    time = np.arange(len(segments.of_frame)) * HOP / SAMPLE_RATE
    pause = segments.phone == phones.PAUSE
    phrase = np.cumsum(pause)[segments.of_frame]
    since = time - time[np.searchsorted(phrase, phrase)]  # from the start of the phrase
    log_f0 = np.log(speaker.f0 * state.f0 * f0_scale) + 0.05 * effort_db / 3
    log_f0 = log_f0 - speaker.declination * np.minimum(since, _DECLINES_SECONDS)
    log_f0 += _accents(speaker, segments, rng) - 0.25 * speaker.accent_size  # keeps the mean about where it was
    _end_phrases(log_f0, speaker, segments, pause, rng)
    knots = np.arange(0, seconds + 1, _MICRO_STEP)
    log_f0 += _MICRO * np.interp(time, knots, rng.standard_normal(len(knots)))
    return np.clip(np.exp(smooth(log_f0, 25.0)), _LOWEST, _HIGHEST)


def _accents(speaker: Speaker, segments: Segments, rng: np.random.Generator) -> Array:
    count = len(segments.phone)
    accented = phones.IS_VOWEL[segments.phone] & (rng.random(count) < 0.5)
    size = speaker.accent_size * np.exp(0.4 * rng.standard_normal(count))
    return smooth(np.where(accented, size, 0.0)[segments.of_frame], 70.0)


def _end_phrases(
    log_f0: Array, speaker: Speaker, segments: Segments, pause: NDArray[np.bool_], rng: np.random.Generator
) -> None:
    """Bend, in place, the last three phones before each pause and at the end."""
    for last in np.flatnonzero(np.append(pause[1:], True)):
        bend = rng.normal(-0.5 * speaker.accent_size, 0.7 * speaker.accent_size)
        if rng.random() < speaker.creak:
            bend -= _CREAK
        start, stop = np.searchsorted(segments.of_frame, [max(0, last - 2), last + 1])
        log_f0[start:stop] += bend * np.linspace(0, 1, stop - start)
