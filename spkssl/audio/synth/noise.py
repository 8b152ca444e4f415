"""Noises: coloured, ambient, hum, music, babble; and sets of clips of them, made as they are asked for."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from spkssl import rng as streams
from spkssl.audio.synth.filters import SAMPLE_RATE
from spkssl.audio.synth.speaker import draw_speaker, draw_state
from spkssl.audio.synth.variation import Variation
from spkssl.audio.synth.voice import speak

Wave = NDArray[np.float32]

_TALKER_SECONDS = 5.0
_TALKERS = 24  # the babble clips of a set share them
_SCALE = np.array([0, 2, 4, 5, 7, 9, 12, 14, 16])  # semitones of the major scale


def white(samples: int, rng: np.random.Generator) -> Wave:
    return _coloured(samples, rng.uniform(0, 0.5), rng)


def pink(samples: int, rng: np.random.Generator) -> Wave:
    return _coloured(samples, rng.uniform(0.8, 1.6), rng)


def ambient(samples: int, rng: np.random.Generator) -> Wave:
    """Coloured noise that slowly swells and fades."""
    wave = _coloured(samples, rng.uniform(0.5, 1.8), rng)
    time = np.arange(samples) / SAMPLE_RATE
    knots = np.arange(0, time[-1] + 0.5, 0.25)
    return _unit(wave * np.interp(time, knots, np.exp(0.5 * rng.standard_normal(len(knots)))))


def hum(samples: int, rng: np.random.Generator) -> Wave:
    """Mains at 50 or 60 Hz with its harmonics over a noise floor."""
    mains, time = float(rng.choice([50, 60])), np.arange(samples) / SAMPLE_RATE
    wave = np.zeros(samples)
    for harmonic in range(1, 16):
        size = rng.random() / harmonic**0.7
        wave += size * np.sin(2 * np.pi * mains * harmonic * time + rng.uniform(0, 2 * np.pi))
    return _unit(wave / wave.std() + 0.3 * _coloured(samples, 1.0, rng))


def music(samples: int, rng: np.random.Generator) -> Wave:
    """Decaying chords of three notes with five harmonics each."""
    wave, start, root = np.zeros(samples), 0, rng.uniform(110, 220)
    while start < samples:
        length = int(rng.uniform(0.2, 0.6) * SAMPLE_RATE)
        stop = min(start + length, samples)
        time = np.arange(stop - start) / SAMPLE_RATE
        chord = np.zeros(stop - start)
        decay = np.exp(-time * rng.uniform(1, 5))
        for interval in rng.choice(_SCALE, 3):
            note = root * 2 ** (interval / 12)
            for harmonic in range(1, 6):
                phase, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.8)
                chord += np.sin(2 * np.pi * note * harmonic * time + phase) / harmonic**slope
        wave[start:stop] += decay * chord
        start = stop
    return _unit(wave)


def babble(samples: int, talkers: Sequence[Callable[[], Wave]], rng: np.random.Generator) -> Wave:
    """Four to seven talkers at once, each drawn from `talkers`."""
    wave = np.zeros(samples)
    for _ in range(rng.integers(4, 8)):
        talk = talkers[rng.integers(len(talkers))]()
        wave += np.resize(np.roll(talk, rng.integers(len(talk))), samples) * rng.uniform(0.4, 1)
    return _unit(wave)


_PLAIN: dict[str, Callable[[int, np.random.Generator], Wave]] = {
    "white": white,
    "pink": pink,
    "ambient": ambient,
    "hum": hum,
    "music": music,
}
# name -> what it counts as in utt2kind
KINDS = {"white": "noise", "pink": "noise", "ambient": "noise", "hum": "noise", "music": "music", "babble": "speech"}


class Clips:
    """A set of noise clips `clip(kind, number)`, number < per_kind; each from its own stream, kept once made."""

    def __init__(self, seed: int, tag: str, variation: Variation, per_kind: int = 6, seconds: float = 10.0) -> None:
        self.per_kind = per_kind
        self.samples = int(seconds * SAMPLE_RATE)
        self.clip = cache(self._clip)
        self._seed, self._tag, self._variation = seed, tag, variation
        self._talkers = [cache(lambda n=n: self._talk(n)) for n in range(_TALKERS)]

    def _clip(self, kind: str, number: int) -> Wave:
        rng = streams.numpy(self._seed, self._tag, kind, number)
        if kind == "babble":
            return babble(self.samples, self._talkers, rng)
        return _PLAIN[kind](self.samples, rng)

    def _talk(self, number: int) -> Wave:
        rng = streams.numpy(self._seed, self._tag, "talker", number)
        speaker, state = draw_speaker(self._variation, rng), draw_state(self._variation, rng)
        return speak(speaker, state, self._variation, rng, _TALKER_SECONDS)


def _coloured(samples: int, slope: float, rng: np.random.Generator) -> Wave:
    """Noise whose power falls as 1 / f^slope."""
    spectrum = scipy.fft.rfft(rng.standard_normal(samples).astype(np.float32))
    bins = np.maximum(np.arange(len(spectrum)), 1) / len(spectrum)
    return _unit(scipy.fft.irfft(spectrum * bins ** (-slope / 2), samples))


def _unit(wave: NDArray) -> Wave:
    return (wave / (wave.std() + 1e-9)).astype(np.float32)
