"""What is said: random (C)V(C) syllables, one to three to a word, with pauses; and which phone each frame is in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spkssl.audio.synth import phones
from spkssl.audio.synth.filters import HOP, SAMPLE_RATE
from spkssl.audio.synth.speaker import Speaker

_ONSET, _CODA = 0.88, 0.38  # share of syllables that have one
_WORD_FINAL = 1.25  # lengthening of the last vowel of a word


@dataclass(frozen=True, eq=False)
class Segments:
    """Phones in order (M,), and for every frame (T,) the segment it lies in and how long that still lasts."""

    phone: NDArray[np.int64]  # (M,)
    of_frame: NDArray[np.int64]  # (T,)
    left: NDArray[np.float64]  # (T,) seconds from the middle of the frame to the end of its segment

    @property
    def phone_of_frame(self) -> NDArray[np.int64]:
        return self.phone[self.of_frame]


def draw_phones(
    speaker: Speaker, seconds: float, rate: float, rng: np.random.Generator
) -> tuple[list[int], list[float]]:
    """Phones and their durations in seconds, starting with a pause, at least as long as asked for."""
    onset, vowel, coda = (np.cumsum(p) for p in (phones.ONSET_PRIOR, speaker.vowel_prior, phones.CODA_PRIOR))

    def pick(rows: NDArray[np.int64], cumulated: NDArray[np.float64]) -> int:
        return int(rows[np.searchsorted(cumulated / cumulated[-1], rng.random(), side="right")])

    said, lasts = [phones.PAUSE], [rng.uniform(0.05, 0.25)]
    total = lasts[0]
    while total < seconds:
        syllables = rng.integers(1, 4)
        for syllable in range(syllables):
            word = [pick(phones.ONSETS, onset)] if rng.random() < _ONSET else []
            word.append(pick(phones.VOWELS, vowel))
            if rng.random() < _CODA:
                word.append(pick(phones.CODAS, coda))
            for phone in word:
                usual = phones.SECONDS[phone] * speaker.durations[phone] / rate
                final = syllable == syllables - 1 and phones.IS_VOWEL[phone]
                lasts.append(usual * np.exp(0.18 * rng.standard_normal()) * (_WORD_FINAL if final else 1))
                total += lasts[-1]
            said += word
        if rng.random() < speaker.pausing * 1.5:
            said.append(phones.PAUSE)
            lasts.append(np.exp(np.log(0.22) + 0.4 * rng.standard_normal()) / rate)
            total += lasts[-1]
    return said, lasts


def segment(said: list[int], lasts: list[float], frames: int) -> Segments:
    """Phones laid on the frames of the synthesis; the last one fills what is left."""
    ends = np.cumsum(lasts) * SAMPLE_RATE / HOP
    middle = np.arange(frames) + 0.5
    of_frame = np.minimum(np.searchsorted(ends, middle), len(said) - 1)
    return Segments(np.array(said), of_frame, (ends[of_frame] - middle) * HOP / SAMPLE_RATE)
