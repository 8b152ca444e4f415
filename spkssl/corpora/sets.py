"""Writing data directories, the same for every corpus."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spkssl.errors import complain
from spkssl.io.tables import write_lists, write_table


def write_set(
    folder: Path,
    audio: Mapping[str, Path],
    seconds: Mapping[str, float] | None = None,
    speakers: Mapping[str, str] | None = None,
) -> None:
    """wav.scp, utt2spk, spk2utt and, where durations are known, utt2dur.

    Without `speakers` the set is unlabelled: every utterance is its own speaker.
    """
    if not audio:
        raise complain(folder, "there is no utterance for it")
    write_table(folder / "wav.scp", {utt: path.resolve() for utt, path in audio.items()})
    if seconds is not None:
        write_table(folder / "utt2dur", {utt: f"{seconds[utt]:.6g}" for utt in audio})
    utt2spk = {utt: utt if speakers is None else speakers[utt] for utt in audio}
    spk2utt: dict[str, list[str]] = {}
    for utt in sorted(utt2spk):
        spk2utt.setdefault(utt2spk[utt], []).append(utt)
    write_table(folder / "utt2spk", utt2spk)
    write_lists(folder / "spk2utt", spk2utt)


def require_folder(path: Path, do: str) -> Path:
    """The folder itself; an InputError when it is not there."""
    if not path.is_dir():
        raise complain(path, "no such folder", do)
    return path
