"""Writing data directories, the same for every corpus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from spkssl import rng
from spkssl.errors import complain
from spkssl.io.tables import write_lists, write_table

U = TypeVar("U", bound=tuple[str, ...])


def opaque(corpus: str, *name: str) -> str:
    """An id for training: it tells nothing of the speaker, by itself or by its place when sorted."""
    return f"u{rng.derive(0, corpus, *name):016x}"


def by_opaque(corpus: str, utts: Iterable[U]) -> dict[str, U]:
    """Opaque id -> utterance, told apart by the words of its name."""
    named = list(utts)
    found = {opaque(corpus, *utt): utt for utt in named}
    if len(found) < len(named):
        raise RuntimeError("two utterances have one opaque id")
    return found


def write_truth(folder: Path, tables: Mapping[str, Mapping[str, str]]) -> None:
    """What is known of an unlabelled set, by table, into its `ref/`, which training never reads."""
    for name, table in tables.items():
        write_table(folder / "ref" / name, table)


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
