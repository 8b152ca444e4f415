"""The audio files of the corpus, each a function of the seed and of its own name.

Speaker factors come from the stream (seed, "speaker", number), a session's state and channel from (seed, "session",
number, session), an utterance from (seed, "utterance", number, session, utterance): any part of the corpus has the
same bytes whatever else is made, and in whatever order. Files that are there and whole are kept.
"""

import wave
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spkssl import rng as streams
from spkssl.audio.synth.channel import draw_channel, transmit
from spkssl.audio.synth.filters import SAMPLE_RATE, amplitude
from spkssl.audio.synth.noise import Clips
from spkssl.audio.synth.plan import Recording
from spkssl.audio.synth.room import draw_rir
from spkssl.audio.synth.speaker import draw_speaker, draw_state
from spkssl.audio.synth.variation import Variation
from spkssl.audio.synth.voice import speak
from spkssl.io.atomic import open_atomic

Pcm = NDArray[np.int16]
Samples = dict[Path, int]

_WAV_HEADER = 44  # bytes
_AUGMENTATION_RT60 = (0.1, 0.6)  # seconds; a little beyond the rooms of the recordings
_PEAK_DB = -1.0  # of noises and room responses


def record(seed: int, variation: Variation, session: Sequence[Recording]) -> list[Pcm]:
    """Recordings of one session of one speaker."""
    number, which = session[0].speaker, session[0].session
    speaker = draw_speaker(variation, streams.numpy(seed, "speaker", number))
    rng = streams.numpy(seed, "session", number, which)
    state, channel = draw_state(variation, rng), draw_channel(variation, rng)
    made = []
    for recording in session:
        rng = streams.numpy(seed, "utterance", number, which, recording.number)
        made.append(transmit(speak(speaker, state, variation, rng), channel, channel_noises(seed, variation), rng))
    return made


@cache
def channel_noises(seed: int, variation: Variation) -> Clips:
    """The noises in the recordings."""
    return Clips(seed, "channel noise", variation)


@cache
def added_noises(seed: int, variation: Variation) -> Clips:
    """The noises for training to add: none of those in the recordings."""
    return Clips(seed, "noise", variation)


def make_session(seed: int, variation: Variation, files: Mapping[Recording, Path]) -> Samples:
    missing = [recording for recording, path in files.items() if not num_samples(path)]
    if missing:
        for recording, pcm in zip(missing, record(seed, variation, missing), strict=True):
            _write(files[recording], pcm)
    return {path: num_samples(path) for path in files.values()}


def make_noise(seed: int, variation: Variation, kind: str, number: int, path: Path) -> Samples:
    if not num_samples(path):
        _write(path, _to_pcm(added_noises(seed, variation).clip(kind, number)))
    return {path: num_samples(path)}


def make_rir(seed: int, number: int, path: Path) -> Samples:
    if not num_samples(path):
        rng = streams.numpy(seed, "rir", number)
        _write(path, _to_pcm(draw_rir(rng.uniform(*_AUGMENTATION_RT60), rng)))
    return {path: num_samples(path)}


def num_samples(path: Path) -> int:
    """Of a file that is there and whole, else 0."""
    try:
        with wave.open(str(path), "rb") as file:
            samples = file.getnframes()
    except (FileNotFoundError, EOFError, wave.Error):
        return 0
    return samples if path.stat().st_size == _WAV_HEADER + 2 * samples else 0


def _to_pcm(sound: NDArray[np.float32]) -> Pcm:
    return np.round(sound / np.abs(sound).max() * amplitude(_PEAK_DB) * 32767).astype(np.int16)


def _write(path: Path, pcm: Pcm) -> None:
    with open_atomic(path, "wb") as file, wave.open(file, "wb") as out:
        out.setparams((1, 2, SAMPLE_RATE, len(pcm), "NONE", "not compressed"))
        out.writeframes(pcm.astype("<i2").tobytes())
