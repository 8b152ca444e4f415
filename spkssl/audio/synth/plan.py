"""Who is recorded when: the recordings of each set, their names, and the trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from spkssl import rng as streams
from spkssl.audio.synth.speaker import draw_speaker
from spkssl.audio.synth.variation import Variation
from spkssl.io.trials import Trials

# Speakers are numbered from here: the sets share none, whatever their sizes
FIRST_SPEAKER = {"train": 1, "dev": 10001, "test": 20001}
MOST_SPEAKERS = 9999
_NONTARGETS = 2  # per target; half of them of the same sex


@dataclass(frozen=True)
class Sizes:
    """Utterances are per speaker, noises per kind."""

    train_speakers: int = 100
    train_utts: int = 20
    dev_speakers: int = 40
    dev_utts: int = 12
    test_speakers: int = 80
    test_utts: int = 12
    noises: int = 10
    rirs: int = 100

    def __post_init__(self) -> None:
        for name, least in {"train_speakers": 1, "train_utts": 1, "noises": 1, "rirs": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("dev_speakers", "dev_utts", "test_speakers", "test_utts"):
            if getattr(self, name) < 2:  # trials need two speakers and two sessions
                raise ValueError(f"{name} must be at least 2, got {getattr(self, name)}")
        for name in FIRST_SPEAKER:
            if self.of(name)[0] > MOST_SPEAKERS:
                raise ValueError(f"{name}_speakers must be at most {MOST_SPEAKERS}, got {self.of(name)[0]}")

    def of(self, name: str) -> tuple[int, int]:
        """Speakers and utterances per speaker of a set."""
        return getattr(self, f"{name}_speakers"), getattr(self, f"{name}_utts")


@dataclass(frozen=True, order=True)
class Recording:
    speaker: int
    session: int  # of the speaker, from 1
    number: int  # in the session, from 1

    @property
    def speaker_id(self) -> str:
        return f"s{self.speaker:05d}"

    @property
    def session_id(self) -> str:
        return f"{self.speaker_id}-{self.session}"

    @property
    def name(self) -> str:
        """For dev and test: starts with the speaker, as Kaldi sorts."""
        return f"{self.session_id}-{self.number:02d}"

    def opaque_name(self, seed: int) -> str:
        """For training, which sees names: tells nothing of the speaker, by itself or by its place when sorted."""
        return f"u{streams.derive(seed, 'name', self.speaker, self.session, self.number) & 0xFFFF_FFFF_FFFF:012x}"


def recordings(name: str, speakers: int, utts: int, sessions: int) -> list[Recording]:
    """The recordings of a set. Utterances are dealt to the sessions in turn, so more of them change none of these."""
    return [
        Recording(FIRST_SPEAKER[name] + speaker, 1 + utt % sessions, 1 + utt // sessions)
        for speaker in range(speakers)
        for utt in range(utts)
    ]


def female_speakers(seed: int, variation: Variation, speakers: Sequence[int]) -> NDArray[np.bool_]:
    return np.array([draw_speaker(variation, streams.numpy(seed, "speaker", number)).female for number in speakers])


def draw_trials(
    recorded: Sequence[Recording], female: Sequence[bool] | NDArray[np.bool_], rng: np.random.Generator
) -> Trials:
    """All pairs of a speaker across sessions as targets; twice as many non-targets, half of them same-sex.

    `female` goes with the sorted speakers. Where a set is too small for that many, fewer non-targets.
    """
    recorded = sorted(recorded)
    speakers = sorted({recording.speaker for recording in recorded})
    utts = len(recorded) // len(speakers)  # the same of every speaker
    targets = [
        (speaker * utts + a, speaker * utts + b)
        for speaker in range(len(speakers))
        for a, b in combinations(range(utts), 2)
        if recorded[speaker * utts + a].session != recorded[speaker * utts + b].session
    ]
    pairs = np.array(list(combinations(range(len(speakers)), 2)))  # of different speakers
    same_sex = np.asarray(female)[pairs[:, 0]] == np.asarray(female)[pairs[:, 1]]
    each = _NONTARGETS * len(targets) // 2
    chosen = [np.array(targets).reshape(-1, 2)]
    chosen += [_draw_pairs(pairs[same_sex == same], utts, each, rng) for same in (True, False)]
    rows = np.concatenate(chosen)
    target = np.arange(len(rows)) < len(targets)
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    names = [recording.name for recording in recorded]
    rows = rows[order].astype(np.int32)
    return Trials(names, names, rows[:, 0], rows[:, 1], target[order])


def _draw_pairs(pairs: NDArray, utts: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count, 2) different pairs of utterances of these pairs of speakers."""
    total = len(pairs) * utts * utts
    code = rng.choice(total, min(count, total), replace=False) if total else np.empty(0, dtype=np.int64)
    pair, a, b = np.unravel_index(code, (max(len(pairs), 1), utts, utts))
    return np.stack([pairs[pair, 0] * utts + a, pairs[pair, 1] * utts + b], axis=1)
