"""Rooms: impulse responses with a given reverberation time."""

import numpy as np
from numpy.typing import NDArray

from spkssl.audio.synth.filters import SAMPLE_RATE, amplitude

_LONGEST = 0.7  # seconds kept of a response
_DECAY = np.log(1000)  # amplitude falls by 60 dB in one reverberation time
_LOW_BAND = 1.3  # low frequencies ring longer by this factor
_REFLECTIONS, _LATEST_REFLECTION = 8, 0.04  # early reflections, seconds
_DRR_DB = (-2.0, 10.0)


def draw_rir(rt60: float, rng: np.random.Generator, drr_db: float | None = None) -> NDArray[np.float32]:
    """The direct sound at sample 0, early reflections, a decaying tail; energy 1. The ratio is drawn unless given."""
    time = np.arange(int(min(rt60 * 1.1, _LONGEST) * SAMPLE_RATE)) / SAMPLE_RATE
    tail = 0.6 * rng.standard_normal(len(time)) * np.exp(-_DECAY * time / rt60)
    low = np.convolve(rng.standard_normal(len(time)), [0.25, 0.5, 0.25], "same")
    tail += low * np.exp(-_DECAY * time / (rt60 * _LOW_BAND))
    tail[: int(rng.uniform(0.001, 0.006) * SAMPLE_RATE)] = 0
    for _ in range(_REFLECTIONS):
        at = int(rng.uniform(0.001, _LATEST_REFLECTION) * SAMPLE_RATE)
        if at < len(tail):
            tail[at] += rng.choice([-1, 1]) * 3 * np.exp(-at / SAMPLE_RATE / 0.02) * rng.random()
    drr_db = rng.uniform(*_DRR_DB) if drr_db is None else drr_db
    rir = tail * amplitude(-drr_db) / np.sqrt((tail**2).sum())
    rir[0] = 1.0
    return (rir / np.sqrt((rir**2).sum())).astype(np.float32)
