"""Who speaks, and how the speaker is today: the latent factors of speaker and session."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spkssl.audio.synth import phones
from spkssl.audio.synth.variation import Variation

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Speaker:
    """The constants of a voice. Frequencies in Hz, durations in seconds unless the name says otherwise."""

    female: bool  # only shifts means; the distributions of the two overlap
    tract: float  # formant scale, the inverse of the vocal tract's length
    f0: float
    formant_scale: Array  # (3,) of F1..F3
    accent: Array  # (phones, 3) scale of each phone's F1..F3
    upper: Array  # (4,) F4..F7 before `tract`
    bandwidths: Array  # (7,) scale of B1..B7
    piriform: float  # the notch of the piriform fossae
    piriform_depth: float
    open_quotient: float
    asymmetry: float  # of the glottal pulse
    tilt_db: float  # of the source at 3 kHz
    hnr_db: float
    jitter: float
    shimmer: float
    nasal_pole: float
    nasal_zeros: Array  # (3,) scale, of m n N
    nasal_bandwidth: float
    nasality: float  # of the vowels
    fricative_scale: Array  # (places,) of the poles
    fricative_bandwidth: float
    fricative_db: float
    rate: float
    pausing: float
    coarticulation_ms: float
    accent_size: float  # of f0, log
    declination: float  # of f0, log per second
    creak: float  # share of phrase ends
    vot: float  # scale of the voice onset time
    durations: Array  # (phones,) scale
    vowel_prior: Array  # (vowels,)


@dataclass(frozen=True)
class State:
    """What is constant within one session and differs between the sessions of one speaker."""

    f0: float
    formants: float
    effort_db: float
    rate: float
    hnr_db: float
    nasality: float


def draw_speaker(variation: Variation, rng: np.random.Generator) -> Speaker:
    wide = variation.spread

    def spread(sd: float, *shape: int) -> Array:
        return np.exp(sd * rng.standard_normal(shape))  # log-normal around 1

    def around(mean: float, sd: float, low: float, high: float) -> float:
        return float(np.clip(mean + sd * rng.standard_normal(), low, high))

    female = bool(rng.random() < 0.5)
    prior = phones.VOWEL_PRIOR * spread(0.3, len(phones.VOWELS))
    return Speaker(
        female=female,
        tract=float(np.clip((1.13 if female else 1.0) * spread(0.055 * wide), 0.86, 1.32)),
        f0=float(np.clip((195.0 if female else 120.0) * spread(0.15), 75, 300)),
        formant_scale=np.exp(0.05 * wide * rng.standard_normal(3) * [1.0, 1.0, 0.8]),
        accent=np.exp(0.055 * wide * rng.standard_normal((len(phones.NAMES), 3)) * [1.2, 1.0, 0.6]),
        upper=np.array([3350.0, 4250.0, 5350.0, 6500.0]) * spread(0.055 * wide, 4),
        bandwidths=spread(0.25, 7),
        piriform=rng.uniform(3900, 5600),
        piriform_depth=rng.uniform(0, 1) * wide,
        open_quotient=around(0.6, 0.10 * wide, 0.35, 0.9),
        asymmetry=rng.uniform(0.6, 0.8),
        tilt_db=around(9.0 if female else 7.0, 4.0 * wide, 0, 22),
        hnr_db=around(17, 4.5 * wide, 6, 30),
        jitter=0.004 * float(spread(0.5)),
        shimmer=0.04 * float(spread(0.4)),
        nasal_pole=270 * float(spread(0.08)),
        nasal_zeros=spread(0.15, 3),
        nasal_bandwidth=100 * float(spread(0.3)),
        nasality=around(0.15, 0.15, 0, 0.6),
        fricative_scale=spread(0.08 * wide, len(phones.PLACES)),
        fricative_bandwidth=float(spread(0.25 * wide)),
        fricative_db=3.0 * wide * rng.standard_normal(),
        rate=float(spread(0.12)),
        pausing=around(0.10, 0.04, 0.02, 0.25),
        coarticulation_ms=float(np.clip(28 * spread(0.25), 15, 60)),
        accent_size=float(np.clip(0.16 * spread(0.35), 0.04, 0.4)),
        declination=around(0.10, 0.06, -0.05, 0.3),
        creak=around(0.15, 0.25, 0, 0.8),
        vot=float(spread(0.25)),
        durations=spread(0.12, len(phones.NAMES)),
        vowel_prior=prior / prior.sum(),
    )


def draw_state(variation: Variation, rng: np.random.Generator) -> State:
    normal = rng.standard_normal
    return State(
        f0=float(np.exp(variation.session_f0 * normal())),
        formants=float(np.exp(variation.session_formants * normal())),
        effort_db=variation.session_effort_db * normal(),
        rate=float(np.exp(0.07 * normal())),
        hnr_db=2.0 * normal(),
        nasality=0.08 * normal(),
    )
