"""Taking utterances out of a set, with the reason kept beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from spkssl.io.tables import read_lists, read_table, write_lists, write_table

_BY_UTT = ("utt2spk", "utt2kind", "utt2uniq", "utt2lang", "text")


def take_out(data: Path, reasons: Mapping[str, str], named: Path) -> None:
    """Remove these utterances from the set's tables and add them to the table `named`.

    Tables as they were go to `.backup`. What says which utterances there are changes last, so that a call which was
    killed half way is simply given again.
    """
    write_table(named, {**(read_table(named) if named.exists() else {}), **reasons})
    for name in _BY_UTT:
        _drop(data, name, reasons)
    if (data / "spk2utt").exists():
        old = read_lists(data / "spk2utt")
        kept = {spk: [utt for utt in utts if utt not in reasons] for spk, utts in old.items()}
        write_lists(data / "spk2utt", {spk: utts for spk, utts in kept.items() if utts})
    if not (data / "segments").exists():
        return _drop(data, "wav.scp", reasons)
    recordings: dict[str, set[str]] = {}
    for utt, line in read_table(data / "segments").items():
        recordings.setdefault(line.split()[0], set()).add(utt)
    unused = [recording for recording, utts in recordings.items() if utts <= reasons.keys()]
    _drop(data, "segments", reasons)
    for name in ("wav.scp", "reco2dur", "reco2file_and_channel"):
        _drop(data, name, unused)


def _drop(data: Path, name: str, keys: Collection[str]) -> None:
    path = data / name
    table = read_table(path) if path.exists() else {}
    kept = {key: rest for key, rest in table.items() if key not in keys}
    if len(kept) < len(table):
        write_table(data / ".backup" / name, table)
        write_table(path, kept)
