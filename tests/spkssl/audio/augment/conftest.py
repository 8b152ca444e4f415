"""Sounds that behave like speech, noises and rooms for the comparison of the two input modes."""

import numpy as np
import pytest
from scipy.signal import butter, lfilter, sosfilt

from spkssl import rng

RATE = 16000


def speech(generator: np.random.Generator, samples: int) -> np.ndarray:
    """Harmonics through moving formants, syllables of 4 Hz with pauses, a breathy part, and a quiet room."""
    t = np.arange(samples) / RATE
    f0 = generator.uniform(90, 240) * np.exp(0.1 * np.sin(2 * np.pi * generator.uniform(0.5, 2) * t))
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    wave = sum(np.sin(k * phase) / k for k in range(1, int(7000 / f0.max())))
    wave = wave + 0.05 * generator.standard_normal(samples)
    pieces = []
    for begin in range(0, samples, 1600):  # a vowel of 100 ms
        piece = wave[begin : begin + 1600]
        for low, high in ((300, 800), (900, 2200), (2300, 3200)):
            f = generator.uniform(low, high)
            r = np.exp(-np.pi * 0.1 * f / RATE)
            piece = lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * f / RATE), r * r], piece)
        pieces.append(piece / np.sqrt(np.mean(piece**2)))
    syllables = np.clip(np.sin(2 * np.pi * generator.uniform(3, 5) * t + generator.uniform(0, 6)) + 0.3, 0, None)
    wave = np.concatenate(pieces) * syllables
    return 0.05 * wave / np.sqrt(np.mean(wave**2)) + 1e-4 * generator.standard_normal(samples)


def noise(generator: np.random.Generator, samples: int) -> np.ndarray:
    """Coloured noise with a slow envelope and nothing below 50 Hz: an SNR on features cannot count what they lack."""
    white = generator.standard_normal(samples + 4000)
    coloured = lfilter([1], [1, -generator.uniform(0, 0.95)], white)
    wave = sosfilt(butter(4, 50, "hp", fs=RATE, output="sos"), coloured)[4000:]
    envelope = np.exp(0.5 * np.sin(2 * np.pi * generator.uniform(0.3, 2) * np.arange(samples) / RATE))
    return 0.02 * wave * envelope / wave.std()


def room(generator: np.random.Generator, reverberation_time: float) -> np.ndarray:
    """A direct path and an exponential tail whose treble dies sooner."""
    samples = int(reverberation_time * RATE)
    decay = np.exp(-6.9 * np.arange(samples) / samples)
    bass = lfilter([0.3], [1, -0.7], generator.standard_normal(samples))
    tail = generator.standard_normal(samples) * decay**1.5 + bass * decay
    tail[:80] = 0
    tail *= 10 ** (-generator.uniform(-2, 8) / 20) / np.sqrt((tail**2).sum())
    tail[0] = 1
    return tail.astype(np.float32)


@pytest.fixture(scope="session")
def sounds() -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """24 crops of speech of 150 frames, as many noises, as many rooms with 0.1 to 0.6 s of reverberation."""
    generator = rng.numpy(5, "sounds")
    samples = 149 * 160 + 400
    voices = np.stack([speech(generator, samples) for _ in range(24)]).astype(np.float32)
    noises = np.stack([noise(generator, samples) for _ in range(24)]).astype(np.float32)
    return voices, noises, [room(generator, generator.uniform(0.1, 0.6)) for _ in range(24)]
