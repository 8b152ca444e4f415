"""The phones: formant targets, durations, levels; and with which weight each stands in onset, nucleus and coda.

Levels are in dB relative to a vowel. A phone without formants of its own (pause, h) takes those of the next phone.
Tables are numpy arrays indexed by the phone's number, so that a whole utterance is looked up at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_OFF_DB = -60.0
_SILENT_DB = -80.0


@dataclass(frozen=True)
class Phone:
    kind: str  # vowel | nasal | approximant | fricative | stop | pause
    formants: tuple[float, float, float] | None
    ms: float
    voicing_db: float = _OFF_DB
    aspiration_db: float = _OFF_DB
    frication_db: float = _SILENT_DB  # of a stop: its burst
    place: str | None = None  # key of PLACES: where the frication is made
    nasal_zero: float = 0.0
    voiced_stop: bool = False


# Noise made at a constriction: two poles (frequency, bandwidth, frequency, bandwidth)
PLACES: dict[str, tuple[float, float, float, float]] = {
    "f": (6500, 4000, 3200, 3000),
    "s": (5600, 1100, 7200, 1500),
    "S": (2900, 600, 4900, 1300),
    "p": (900, 900, 3500, 4000),
    "t": (4300, 1400, 6300, 1800),
    "k": (2000, 350, 4300, 1600),
}
_LABIAL, _ALVEOLAR, _PALATAL, _VELAR = (300, 950, 2250), (320, 1700, 2600), (300, 1900, 2550), (300, 1850, 2350)


def _vowel(f1: float, f2: float, f3: float, ms: float = 95) -> Phone:
    return Phone("vowel", (f1, f2, f3), ms, voicing_db=0)


def _nasal(f1: float, f2: float, f3: float, zero: float) -> Phone:
    return Phone("nasal", (f1, f2, f3), 70, voicing_db=-7, nasal_zero=zero)


def _approximant(f1: float, f2: float, f3: float, voicing_db: float) -> Phone:
    return Phone("approximant", (f1, f2, f3), 60, voicing_db)


def _fricative(formants: tuple, place: str, level_db: float, voicing_db: float = _OFF_DB) -> Phone:
    ms = 85 if voicing_db == _OFF_DB else 65
    return Phone("fricative", formants, ms, voicing_db, frication_db=level_db, place=place)


def _stop(formants: tuple, place: str, level_db: float, voiced: bool = False) -> Phone:
    return Phone("stop", formants, 60 if voiced else 80, frication_db=level_db, place=place, voiced_stop=voiced)


PHONES: dict[str, Phone] = {
    "i": _vowel(280, 2250, 2900),
    "I": _vowel(390, 1990, 2550),
    "e": _vowel(400, 2080, 2600),
    "E": _vowel(550, 1770, 2490),
    "A": _vowel(700, 1660, 2410),
    "a": _vowel(760, 1300, 2500),
    "Q": _vowel(650, 1050, 2450),
    "O": _vowel(500, 840, 2450),
    "o": _vowel(430, 900, 2350),
    "U": _vowel(430, 1020, 2250),
    "u": _vowel(310, 870, 2250),
    "V": _vowel(620, 1200, 2400),
    "@": _vowel(490, 1400, 2450, ms=60),
    "m": _nasal(260, 1000, 2200, zero=1000),
    "n": _nasal(260, 1600, 2550, zero=1700),
    "N": _nasal(270, 1950, 2500, zero=2900),
    "l": _approximant(360, 1150, 2650, -4),
    "r": _approximant(400, 1250, 1650, -4),
    "w": _approximant(300, 700, 2200, -6),
    "j": _approximant(280, 2200, 2950, -5),
    "f": _fricative(_LABIAL, "f", -24),
    "s": _fricative(_ALVEOLAR, "s", -10),
    "S": _fricative(_PALATAL, "S", -9),
    "v": _fricative(_LABIAL, "f", -30, voicing_db=-8),
    "z": _fricative(_ALVEOLAR, "s", -15, voicing_db=-10),
    "Z": _fricative(_PALATAL, "S", -15, voicing_db=-10),
    "h": Phone("fricative", None, 55, aspiration_db=-8),
    "p": _stop(_LABIAL, "p", -18),
    "t": _stop(_ALVEOLAR, "t", -10),
    "k": _stop(_VELAR, "k", -10),
    "b": _stop(_LABIAL, "p", -22, voiced=True),
    "d": _stop(_ALVEOLAR, "t", -16, voiced=True),
    "g": _stop(_VELAR, "k", -16, voiced=True),
    "_": Phone("pause", None, 200, voicing_db=_SILENT_DB, aspiration_db=_SILENT_DB),
}
SCHWA = (490.0, 1400.0, 2450.0)  # the neutral tract: where reduced vowels go

NAMES = list(PHONES)
_ROWS = list(PHONES.values())
PAUSE = NAMES.index("_")
PLACE_NAMES = list(PLACES)
NASALS = [row for row, phone in enumerate(_ROWS) if phone.kind == "nasal"]


def _column(field: str) -> NDArray[np.float64]:
    return np.array([getattr(phone, field) for phone in _ROWS], dtype=np.float64)


def _is(kind: str) -> NDArray[np.bool_]:
    return np.array([phone.kind == kind for phone in _ROWS])


FORMANTS = np.array([phone.formants or SCHWA for phone in _ROWS], dtype=np.float64)  # (phones, 3)
HAS_FORMANTS = np.array([phone.formants is not None for phone in _ROWS])
SECONDS = _column("ms") / 1000
VOICING_DB, ASPIRATION_DB, FRICATION_DB = _column("voicing_db"), _column("aspiration_db"), _column("frication_db")
NASAL_ZERO = _column("nasal_zero")
PLACE = np.array([PLACE_NAMES.index(phone.place) if phone.place else -1 for phone in _ROWS])
IS_VOWEL, IS_STOP, IS_FRICATIVE, IS_NASAL = _is("vowel"), _is("stop"), _is("fricative"), _is("nasal")
IS_VOICED_STOP = np.array([phone.voiced_stop for phone in _ROWS])


def _inventory(weights: dict[str, float]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rows = np.array([NAMES.index(name) for name in weights])
    share = np.array(list(weights.values()))
    return rows, share / share.sum()


VOWELS, VOWEL_PRIOR = _inventory(
    {"i": 9, "I": 8, "e": 7, "E": 8, "A": 6, "a": 9, "Q": 6, "O": 6, "o": 7, "U": 4, "u": 6, "V": 6, "@": 12}
)
ONSETS, ONSET_PRIOR = _inventory(
    {"m": 6, "n": 7, "l": 6, "r": 5, "w": 4, "j": 3, "f": 4, "s": 8, "S": 3, "v": 3, "z": 3, "h": 5}
    | {"p": 5, "t": 9, "k": 7, "b": 5, "d": 6, "g": 4}
)
CODAS, CODA_PRIOR = _inventory(
    {"m": 5, "n": 10, "N": 4, "l": 7, "r": 5, "s": 8, "S": 2, "z": 4, "t": 9, "k": 5, "p": 3, "d": 5, "f": 2}
)
