"""Makes what the CN-Celeb recipe needs, tiny, in the layouts of the distributed corpora: python cnceleb_corpora.py OUT

OUT/{CN-Celeb_flac,CN-Celeb2_flac,musan,RIRS_NOISES}, with synthesised speakers. As in the release, the lists say .wav
where the files are .flac, one speaker of the evaluation has test files but no enrolment, and trials are all pairs.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile

from spkssl import rng
from spkssl.audio.synth.speaker import draw_speaker, draw_state
from spkssl.audio.synth.variation import STANDARD
from spkssl.audio.synth.voice import speak

RATE = 16000
GENRES = ("live_broadcast", "singing")
DEV = ("id00000", "id00003", "id00007")
SECOND = ("id10000", "id10001", "id11999")
ENROLLED = ("id00800", "id00801", "id00999")
NOT_ENROLLED = ("id00900",)
UTTS = 3  # of each genre in data/


def make(out: Path) -> Path:
    first, second = out / "CN-Celeb_flac", out / "CN-Celeb2_flac"
    for speaker in (*DEV, *ENROLLED, *NOT_ENROLLED):
        write_speaker(first / "data", speaker)
    for speaker in SECOND:
        write_speaker(second / "data", speaker)
    write_lines(first / "dev" / "dev.lst", DEV)
    write_lines(second / "spk.lst", SECOND)
    write_evaluation(first)
    neighbour = voxceleb_script()
    neighbour.write_musan(out / "musan")
    neighbour.write_rirs(out / "RIRS_NOISES")
    return out


def write_speaker(data: Path, speaker: str) -> None:
    for genre in GENRES:
        for number in range(1, UTTS + 1):
            # Two sessions of each genre; the second utterance is short.
            session, seconds = 1 + number // UTTS, (1.6, 0.6, 1.3)[number - 1]
            sound = say(speaker, genre, session, number, seconds)
            write(data / speaker / f"{genre}-{session:02d}-{number:03d}.flac", sound)


def write_evaluation(root: Path) -> None:
    enrol, maps, tests = [], [], []
    for speaker in ENROLLED:
        members = [f"{speaker}/{GENRES[1]}-01-00{number}.wav" for number in (1, 2)]
        sounds = [soundfile.read(root / "data" / Path(name).with_suffix(".flac"), dtype="int16")[0] for name in members]
        write(root / "eval" / "enroll" / f"{speaker}-enroll.flac", np.concatenate(sounds))
        enrol.append(f"{speaker}-enroll enroll/{speaker}-enroll.wav")
        maps.append(" ".join([f"{speaker}-enroll", *members]))
    for speaker in (*ENROLLED, *NOT_ENROLLED):
        for number, genre in enumerate((*GENRES, GENRES[0]), 1):
            name = f"{speaker}-{genre}-03-{number:03d}"
            write(root / "eval" / "test" / f"{name}.flac", say(speaker, genre, 3, number, 1.4))
            tests.append(f"test/{name}.wav")
    trials = [f"{s}-enroll {test} {int(test[5:12] == s)}" for s in ENROLLED for test in tests]
    for name, lines in {"enroll.lst": enrol, "enroll.map": maps, "test.lst": tests, "trials.lst": trials}.items():
        write_lines(root / "eval" / "lists" / name, lines)


def say(speaker: str, genre: str, session: int, number: int, seconds: float) -> np.ndarray:
    voice = draw_speaker(STANDARD, rng.numpy(0, "fixture", speaker))
    state = draw_state(STANDARD, rng.numpy(0, "fixture", speaker, genre, session))
    sound = speak(voice, state, STANDARD, rng.numpy(0, "fixture", speaker, genre, session, number), seconds=seconds)
    return np.round(sound / np.abs(sound).max() * 20000).astype(np.int16)


def write(path: Path, pcm: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, pcm, RATE, "PCM_16")


def write_lines(path: Path, lines: list[str] | tuple[str, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def voxceleb_script() -> ModuleType:
    """Its MUSAN and RIRS_NOISES serve here too."""
    spec = importlib.util.spec_from_file_location("voxceleb_corpora", Path(__file__).with_name("voxceleb_corpora.py"))
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


if __name__ == "__main__":
    make(Path(sys.argv[1]))
