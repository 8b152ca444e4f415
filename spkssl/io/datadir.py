"""A data directory as the rest of the toolkit reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from spkssl.errors import InputError, complain, some
from spkssl.io.ark import Reader, read_scp
from spkssl.io.fix import Fixed, fix
from spkssl.io.tables import read_table
from spkssl.io.validate import overlap, validate

__all__ = ["DataDir", "Excerpt", "Fixed", "fix", "overlap", "validate"]

V = TypeVar("V", int, float)
_FRAME_SHIFT = 0.01  # seconds, where the directory has no file frame_shift (Kaldi's default)
_EXTRA_FRAMES = 1.5  # a 25 ms window reaches 1.5 shifts beyond the last 10 ms frame (Kaldi get_utt2dur.sh)


class Excerpt(NamedTuple):
    """Where the audio of an utterance is. The end is None when it is the end of the file."""

    path: str
    start: float = 0.0  # seconds
    end: float | None = None


class _Segment(NamedTuple):
    recording: str
    start: float
    end: float


@dataclass(frozen=True)
class DataDir:
    """One set. Every table is read when first asked for, and an InputError says what is missing or malformed."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if not self.path.is_dir():
            raise complain(self.path, "no such data directory", "run stage 1 (prepare) or check the path")

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    @cached_property
    def utts(self) -> list[str]:
        """All utterances in byte order; the position in this list is the row of every per-utterance array."""
        for name in ("utt2spk", "segments", "feats.scp", "wav.scp"):
            if self.has(name):
                utts = sorted(read_table(self.path / name))
                if not utts:
                    raise complain(self.path / name, "is empty", "run stage 1 (prepare) again")
                return utts
        raise complain(self.path, "has neither utt2spk, segments, feats.scp nor wav.scp", "run stage 1 (prepare)")

    @cached_property
    def wav(self) -> dict[str, str]:
        """Recording -> path of the audio file; without segments recordings are utterances."""
        table = read_table(self.path / "wav.scp")
        pipes = [key for key, path in table.items() if "|" in path]
        if pipes:
            raise complain(self.path / "wav.scp", f"piped commands for {some(pipes)}", "write the audio to files")
        return table

    @cached_property
    def segments(self) -> dict[str, _Segment] | None:
        """Utterance -> (recording, start, end) in seconds, or None when every recording is one utterance."""
        path = self.path / "segments"
        return {utt: _segment(path, utt, rest) for utt, rest in read_table(path).items()} if path.exists() else None

    @cached_property
    def utt2spk(self) -> dict[str, str]:
        return read_table(self.path / "utt2spk")

    @cached_property
    def spk2utt(self) -> dict[str, list[str]]:
        """Speaker -> utterances, from utt2spk; both in byte order."""
        found: dict[str, list[str]] = {speaker: [] for speaker in sorted(set(self.utt2spk.values()))}
        for utt in sorted(self.utt2spk):
            found[self.utt2spk[utt]].append(utt)
        return found

    @cached_property
    def feats(self) -> dict[str, str]:
        """Utterance -> location of its features, see `spkssl.io.ark.Reader`."""
        return read_scp(self.path / "feats.scp")

    @cached_property
    def vad(self) -> dict[str, str]:
        return read_scp(self.path / "vad.scp")

    @cached_property
    def frame_shift(self) -> float:
        """Seconds from frame to frame."""
        path = self.path / "frame_shift"
        return _number(path, "frame_shift", path.read_text(), float) if path.exists() else _FRAME_SHIFT

    @cached_property
    def num_frames(self) -> dict[str, int]:
        """Utterance -> frames of its features, from utt2num_frames or else the headers of the archives."""
        path = self.path / "utt2num_frames"
        if path.exists():
            return self._numbers(path, int)
        reader = Reader()
        return {utt: reader.shape(location)[0] for utt, location in self.feats.items()}

    @cached_property
    def durations(self) -> dict[str, float]:
        """Utterance -> seconds, from utt2dur, segments, or the number of frames."""
        path = self.path / "utt2dur"
        if path.exists():
            return self._numbers(path, float)
        if self.segments is not None:
            return {utt: segment.end - segment.start for utt, segment in self.segments.items()}
        if self.has("utt2num_frames") or self.has("feats.scp"):
            return {utt: (n + _EXTRA_FRAMES) * self.frame_shift for utt, n in self.num_frames.items()}
        raise complain(path, "no such file, and neither segments nor features to compute it from", "run stage 1 or 2")

    def audio(self, utt: str) -> Excerpt:
        """Where the audio of an utterance is."""
        if self.segments is None:
            return Excerpt(self._recording(utt))
        if utt not in self.segments:
            raise complain(self.path / "segments", f"has no utterance {utt}", self._remedy)
        segment = self.segments[utt]
        return Excerpt(self._recording(segment.recording), segment.start, segment.end)

    def require(self, name: str, table: dict[str, object]) -> None:
        """An InputError unless a per-utterance table covers exactly the utterances of the set."""
        missing = [utt for utt in self.utts if utt not in table]
        if missing:
            raise complain(self.path / name, f"lacks {some(missing)} of the {len(self.utts)} utterances", self._remedy)
        if len(table) > len(self.utts):
            extra = [utt for utt in table if utt not in set(self.utts)]
            raise complain(self.path / name, f"has utterances that the set lacks: {some(extra)}", self._remedy)

    @property
    def _remedy(self) -> str:
        return f"run spkssl validate --fix {self.path}"

    def _recording(self, key: str) -> str:
        if key not in self.wav:
            raise complain(self.path / "wav.scp", f"has no recording {key}", self._remedy)
        return self.wav[key]

    def _numbers(self, path: Path, kind: Callable[[str], V]) -> dict[str, V]:
        return {utt: _number(path, utt, text, kind) for utt, text in read_table(path).items()}


def _number(path: Path, key: str, text: str, kind: Callable[[str], V]) -> V:
    try:
        value = kind(text)
    except ValueError:
        value = kind(0)
    if not 0 < value < float("inf"):
        raise complain(path, f"{key}: expected a positive number, got {text.strip()!r}")
    return value


def _segment(path: Path, utt: str, text: str) -> _Segment:
    fields = text.split()
    try:
        recording, start, end = fields[0], float(fields[1]), float(fields[2])
        if len(fields) == 3 and 0 <= start < end < float("inf"):
            return _Segment(recording, start, end)
    except (IndexError, ValueError):
        pass
    raise InputError(f"{path}: {utt}: expected `recording start end` in seconds with start < end, got {text!r}")
