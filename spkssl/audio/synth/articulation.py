"""How the tract moves: formants with coarticulation, amplitudes of voicing and noise, nasality, frame by frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spkssl.audio.synth import phones
from spkssl.audio.synth.filters import amplitude, smooth
from spkssl.audio.synth.speaker import Speaker, State
from spkssl.audio.synth.syllables import Segments

Array = NDArray[np.float64]

_APART_HZ = 150.0  # least distance of neighbouring formants
_BURST_SECONDS = 0.012
_VOICED_VOT, _VOICELESS_VOT = 0.008, 0.030  # seconds, before the speaker's scale
_ASPIRATED_DB, _VOICE_BAR_DB = -10.0, -22.0
_BURST_GAIN_DB = 4.0


@dataclass(frozen=True, eq=False)
class Tract:
    """Tracks over the T frames of an utterance; amplitudes are linear."""

    formants: Array  # (T, 3) F1..F3 in Hz
    voicing: Array  # (T,)
    aspiration: Array  # (T,)
    frication: Array  # (T,)
    place: NDArray[np.int64]  # (T,) where the frication is made, -1 where the utterance has none
    nasality: Array  # (T,) 0 oral .. 1 nasal
    nasal_zero: Array  # (T,) Hz


def articulate(speaker: Speaker, state: State, segments: Segments, rng: np.random.Generator) -> Tract:
    formants = _formants(speaker, state, segments, rng)
    voicing, aspiration, frication = _amplitudes(speaker, segments, rng)
    nasality, nasal_zero = _nasality(speaker, state, segments)
    return Tract(formants, voicing, aspiration, frication, _places(segments), nasality, nasal_zero)


def _formants(speaker: Speaker, state: State, segments: Segments, rng: np.random.Generator) -> Array:
    scale = speaker.formant_scale * speaker.tract * state.formants  # (3,)
    target = _anticipated(speaker, segments.phone) * scale  # (M, 3)
    reduction = np.clip(0.12 + 0.12 * rng.standard_normal(len(target)), 0, 0.5)[:, None]
    centre = np.array(phones.SCHWA) * scale
    is_vowel = phones.IS_VOWEL[segments.phone][:, None]
    target = np.where(is_vowel, target * (1 - reduction) + centre * reduction, target)
    track = np.exp(smooth(np.log(target)[segments.of_frame], speaker.coarticulation_ms))  # (T, 3)
    track[:, 1] = np.maximum(track[:, 1], track[:, 0] + _APART_HZ)
    track[:, 2] = np.maximum(track[:, 2], track[:, 1] + _APART_HZ)
    return track


def _anticipated(speaker: Speaker, phone: NDArray[np.int64]) -> Array:
    """(M, 3) targets; what has none takes those of the next phone that has, at the very end the neutral tract."""
    own = np.append(phones.HAS_FORMANTS[phone], True)
    targets = np.vstack([phones.FORMANTS[phone] * speaker.accent[phone], phones.SCHWA])
    following = np.where(own, np.arange(len(own)), len(own))
    following = np.minimum.accumulate(following[::-1])[::-1]
    return targets[following][:-1]


def _amplitudes(speaker: Speaker, segments: Segments, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    phone, left = segments.phone_of_frame, segments.left
    voicing, aspiration = phones.VOICING_DB[phone], phones.ASPIRATION_DB[phone]
    level = phones.FRICATION_DB[phone] + speaker.fricative_db
    frication = np.where(phones.IS_FRICATIVE[phone] & (phones.PLACE[phone] >= 0), level, -80.0)

    # A stop is silence (or a voice bar), then a burst, then aspiration until the voice sets in
    stop, voiced = phones.IS_STOP[phone], phones.IS_VOICED_STOP[phone]
    vot = np.where(voiced, _VOICED_VOT, _VOICELESS_VOT * speaker.vot)
    released = left < vot + _BURST_SECONDS
    frication = np.where(stop & released & (left >= vot - 0.001), level + _BURST_GAIN_DB, frication)
    aspiration = np.where(stop & ~voiced & (left < vot), _ASPIRATED_DB, aspiration)
    voicing = np.where(stop & voiced & ~released, _VOICE_BAR_DB, voicing)

    stress = np.exp(0.12 * rng.standard_normal(len(segments.phone)))[segments.of_frame]
    loudness = amplitude(voicing) * stress
    return smooth(loudness, 9.0), smooth(amplitude(aspiration), 6.0), smooth(amplitude(frication), 4.0)


def _nasality(speaker: Speaker, state: State, segments: Segments) -> tuple[Array, Array]:
    is_nasal = phones.IS_NASAL[segments.phone]
    in_vowels = float(np.clip(speaker.nasality + state.nasality, 0, 0.7))
    nasal = np.where(is_nasal, 1.0, np.where(phones.IS_VOWEL[segments.phone], in_vowels, 0.0))
    scale = np.ones(len(phones.NAMES))
    scale[phones.NASALS] = speaker.nasal_zeros * speaker.tract * state.formants
    zero = np.where(is_nasal, (phones.NASAL_ZERO * scale)[segments.phone], speaker.nasal_pole)
    return smooth(nasal[segments.of_frame], 30.0), smooth(zero[segments.of_frame], 20.0)


def _places(segments: Segments) -> NDArray[np.int64]:
    """(T,) the place of the frame or, where it has none, of the next one that has: smoothing lets noise start early."""
    place = phones.PLACE[segments.phone_of_frame]
    having = np.flatnonzero(place >= 0)
    if not len(having):
        return place
    nearest = having[np.minimum(np.searchsorted(having, np.arange(len(place))), len(having) - 1)]
    return place[nearest]
