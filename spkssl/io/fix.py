"""Repairing a data directory as Kaldi's fix_data_dir.sh does: sort, drop duplicates, keep what all files agree on."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from spkssl.errors import complain
from spkssl.io.atomic import open_atomic

_UTT = ("utt2spk", "utt2uniq", "feats.scp", "vad.scp", "text", "segments", "utt2lang", "utt2dur", "utt2num_frames",
        "utt2kind")  # fmt: skip
_SPK = ("cmvn.scp", "spk2gender")
_RECO = ("reco2file_and_channel", "reco2dur")
# Only these say which utterances there are; vad.scp and utt2uniq merely follow.
_RESTRICTING = ("feats.scp", "text", "segments", "utt2lang", "utt2dur", "utt2num_frames")
_BOM = b"\xef\xbb\xbf"

Table = dict[bytes, bytes]  # key -> rest of the line, sorted by key


class Fixed(NamedTuple):
    kept: int  # utterances
    total: int
    changed: list[str]  # files that were written anew; their originals are in .backup


@dataclass
class _Tables:
    folder: Path
    tables: dict[str, Table] = field(default_factory=dict)

    def keep(self, names: Iterable[str], keys: Iterable[bytes]) -> None:
        wanted = set(keys)
        for name in names:
            if name in self.tables:
                self.tables[name] = {key: rest for key, rest in self.tables[name].items() if key in wanted}


def fix(
    path: str | Path, *, spk_sort: bool = True, utt_files: Iterable[str] = (), spk_files: Iterable[str] = ()
) -> Fixed:
    """Make the tables of a directory sorted, unique and of one set of utterances. Doing it twice changes nothing.

    Lines that can never be right (empty ones) go, byte-order marks and carriage returns too. Nothing is written when
    no utterance would remain or when utterances and speakers sort differently.
    """
    folder = Path(path)
    if not (folder / "utt2spk").exists():
        raise complain(folder, "has no utt2spk, which decides what the set holds", "write utt2spk")
    utt_files, spk_files = (*_UTT, *utt_files), (*_SPK, *spk_files)
    names = [*utt_files, *spk_files, *_RECO, "wav.scp", "spk2utt"]
    data = _Tables(folder, {name: _load(folder / name) for name in names if (folder / name).exists()})
    _check_utt2spk(folder, data.tables["utt2spk"])
    total = len(data.tables["utt2spk"])
    _filter_recordings(data)
    _filter_speakers(data, spk_files)
    _filter_utts(data, utt_files)
    _filter_speakers(data, spk_files)
    _filter_recordings(data)
    utt2spk = data.tables["utt2spk"]
    if not utt2spk:
        raise complain(folder, f"no utterance of {total} is in every file", "check that the files are of the same set")
    if spk_sort and [*utt2spk.values()] != sorted(utt2spk.values()):
        what = "utterances and speakers sort differently"
        raise complain(folder / "utt2spk", what, "make the speaker a prefix of the utterance id, or give --no-spk-sort")
    data.tables["spk2utt"] = _spk2utt(utt2spk)
    return Fixed(len(utt2spk), total, _save(data))


def _load(path: Path) -> Table:
    """Sorted by key; of several lines with one key the first survives."""
    table: Table = {}
    for line in path.read_bytes().removeprefix(_BOM).split(b"\n"):
        key, _, rest = line.strip().replace(b"\t", b" ").partition(b" ")
        if key:
            table.setdefault(key, rest.strip())
    return dict(sorted(table.items()))


def _check_utt2spk(folder: Path, utt2spk: Table) -> None:
    for utt, speaker in utt2spk.items():
        if len(speaker.split()) != 1:
            got = b" ".join([utt, speaker]).decode("utf-8", "replace")
            what = f"expected `utterance speaker`, got {got!r}"
            raise complain(folder / "utt2spk", what, "correct this line by hand")


def _filter_recordings(data: _Tables) -> None:
    segments, wav = data.tables.get("segments"), data.tables.get("wav.scp")
    if segments is None:
        return
    recordings = {rest.split(b" ")[0] for rest in segments.values()}
    if wav is not None:
        recordings &= wav.keys()
    data.tables["segments"] = {utt: rest for utt, rest in segments.items() if rest.split(b" ")[0] in recordings}
    data.keep(("wav.scp", *_RECO), recordings)


def _filter_speakers(data: _Tables, spk_files: Iterable[str]) -> None:
    """A speaker whom cmvn.scp or spk2gender lacks goes with all utterances, as in Kaldi."""
    speakers = set(data.tables["utt2spk"].values())
    for name in _SPK:
        if name in data.tables:
            speakers &= data.tables[name].keys()
    data.tables["utt2spk"] = {utt: spk for utt, spk in data.tables["utt2spk"].items() if spk in speakers}
    data.keep(spk_files, speakers)


def _filter_utts(data: _Tables, utt_files: Iterable[str]) -> None:
    utts = set(data.tables["utt2spk"])
    for name in _RESTRICTING:
        if name in data.tables:
            right = _POSITIVE.get(name, bool)
            utts &= {key for key, rest in data.tables[name].items() if right(rest) or name == "text"}
    if "segments" not in data.tables and "wav.scp" in data.tables:
        utts &= data.tables["wav.scp"].keys()
        data.keep(("wav.scp", *_RECO), utts)
    data.keep(utt_files, utts)


def _is_positive(text: bytes) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


_POSITIVE = {"utt2dur": _is_positive, "utt2num_frames": lambda text: text.isdigit() and int(text) > 0}


def _spk2utt(utt2spk: Table) -> Table:
    found: dict[bytes, list[bytes]] = {}
    for utt, speaker in utt2spk.items():
        found.setdefault(speaker, []).append(utt)
    return {speaker: b" ".join(utts) for speaker, utts in sorted(found.items())}


def _save(data: _Tables) -> list[str]:
    """Write the tables that differ from their files; all originals are copied to .backup first."""
    content = {
        name: b"".join(b"%s %s\n" % item if item[1] else b"%s\n" % item[0] for item in table.items())
        for name, table in data.tables.items()
    }
    before = {name: path.read_bytes() for name in content if (path := data.folder / name).exists()}
    changed = sorted(name for name in content if content[name] != before.get(name))
    if changed:
        for name, original in before.items():
            _write(data.folder / ".backup" / name, original)
    for name in changed:
        _write(data.folder / name, content[name])
    return changed


def _write(path: Path, content: bytes) -> None:
    with open_atomic(path, "wb") as file:
        file.write(content)
