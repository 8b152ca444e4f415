"""Makes what the VoxCeleb recipe needs, tiny, in the layouts of the distributed corpora: python voxceleb_corpora.py OUT

OUT/{voxceleb1,voxceleb2,musan,RIRS_NOISES,lists} and OUT/counts.json, with synthesised speakers and real m4a.
"""

import json
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

from spkssl import rng
from spkssl.audio.synth.room import draw_rir
from spkssl.audio.synth.speaker import draw_speaker, draw_state
from spkssl.audio.synth.variation import STANDARD
from spkssl.audio.synth.voice import speak

RATE = 16000
# Characters that take ids apart where somebody splits at "-"
VIDEOS = ("-ize_eiCFEg", "GWXujl-xAVM", "5r0dWxy17C8")
PARTS = {  # folder -> suffix, speakers, videos of each, segments of each
    "voxceleb2/dev/aac": (".m4a", ("id00012", "id00015", "id00016", "id00018"), 2, 3),
    "voxceleb2/test/aac": (".m4a", ("id00017", "id00061", "id00081"), 2, 2),
    "voxceleb1/dev/wav": (".wav", ("id10001", "id11251"), 2, 2),
    "voxceleb1/test/wav": (".wav", ("id10270", "id10271", "id10309"), 2, 2),
}
LISTS = {
    "veri_test": ("test",), "veri_test2": ("test",),
    "list_test_all": ("dev", "test"), "list_test_all2": ("dev", "test"),
    "list_test_hard": ("dev", "test"), "list_test_hard2": ("dev", "test"),
}  # fmt: skip
NAMES = {
    "veri_test": "vox1-o", "veri_test2": "vox1-o-clean", "list_test_all": "vox1-e", "list_test_all2": "vox1-e-clean",
    "list_test_hard": "vox1-h", "list_test_hard2": "vox1-h-clean",
}  # fmt: skip


def make(out: Path) -> Path:
    counts: dict[str, list[int]] = {}
    for folder, (suffix, speakers, videos, segments) in PARTS.items():
        for speaker in speakers:
            for video in range(videos):
                for segment, pcm in enumerate(session(int(speaker[2:]), video, segments), 1):
                    name = f"{speaker}/{VIDEOS[(int(speaker[2:]) + video) % 3]}/{segment:05d}{suffix}"
                    write(out / folder / name, pcm)
        part = f"vox{folder[8]}-{folder.split('/')[1]}"
        counts[part] = [len(speakers), len(speakers) * videos * segments]
    for name, parts in LISTS.items():
        counts[NAMES[name]] = write_list(out, name, parts)
    write_musan(out / "musan")
    write_rirs(out / "RIRS_NOISES")
    (out / "counts.json").write_text(json.dumps(counts))
    return out


def session(speaker: int, video: int, segments: int) -> Iterator[np.ndarray]:
    voice = draw_speaker(STANDARD, rng.numpy(0, "fixture", speaker))
    state = draw_state(STANDARD, rng.numpy(0, "fixture", speaker, video))
    for segment in range(segments):
        stream = rng.numpy(0, "fixture", speaker, video, segment)
        sound = speak(voice, state, STANDARD, stream, seconds=stream.uniform(1.2, 1.8))
        yield to_pcm(sound)


def to_pcm(sound: np.ndarray) -> np.ndarray:
    return np.round(sound / np.abs(sound).max() * 20000).astype("<i2")


def write(path: Path, pcm: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".wav":
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, RATE, len(pcm), "NONE", "not compressed"))
            file.writeframes(pcm.tobytes())
        return
    command = [shutil.which("ffmpeg"), "-v", "error", "-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", "pipe:0"]
    subprocess.run([*command, "-c:a", "aac", "-b:a", "48k", f"file:{path}"], input=pcm.tobytes(), check=True)


def write_list(out: Path, name: str, parts: tuple[str, ...]) -> list[int]:
    """All pairs across videos; the cleaned lists lack the first of each kind. Targets and trials."""
    roots = [out / "voxceleb1" / part / "wav" for part in parts]
    files = sorted(path.relative_to(root).as_posix() for root in roots for path in root.glob("*/*/*.wav"))
    pairs = [(a, b) for a, b in combinations(files, 2) if a.split("/")[:2] != b.split("/")[:2]]
    lines = [f"{int(a[:7] == b[:7])} {a} {b}" for a, b in pairs]
    if name.endswith("2"):
        for kind in "10":
            lines.remove(next(line for line in lines if line[0] == kind))
    (out / "lists").mkdir(exist_ok=True)
    (out / "lists" / f"{name}.txt").write_text("".join(line + "\n" for line in lines))
    return [sum(line[0] == "1" for line in lines), len(lines)]


def write_musan(root: Path) -> None:
    for kind, source in (("music", "fma"), ("noise", "free-sound"), ("speech", "librivox")):
        for number in range(2):
            stream = rng.numpy(0, "fixture", kind, number)
            sound = np.cumsum(stream.standard_normal(3 * RATE)) if kind == "music" else stream.standard_normal(2 * RATE)
            write(root / kind / source / f"{kind}-{source}-{number:04d}.wav", to_pcm(sound - sound.mean()))
        (root / kind / source / "LICENSE").write_text("made up\n")


def write_rirs(root: Path) -> None:
    lines = []
    for size in ("smallroom", "mediumroom", "largeroom"):
        for number in (1, 2):
            stream = rng.numpy(0, "fixture", size, number)
            place = root / "simulated_rirs" / size / "Room001" / f"Room001-{number:05d}.wav"
            write(place, to_pcm(draw_rir(0.2, stream)))
    for number in (1, 2):
        place = root / "real_rirs_isotropic_noises" / f"RVB2014_type1_rir_{number}.wav"
        write(place, to_pcm(draw_rir(0.3, rng.numpy(0, "fixture", "real", number))))
        lines.append(f"--rir-id {number} --room-id 1 RIRS_NOISES/{place.relative_to(root)}\n")
    write(root / "real_rirs_isotropic_noises" / "RVB2014_type1_noise_1.wav", to_pcm(np.ones(100)))
    (root / "real_rirs_isotropic_noises" / "rir_list").write_text("".join(lines))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
