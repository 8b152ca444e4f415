"""MUSAN (openslr.org/17) and RIRS_NOISES (openslr.org/28), unpacked, as the noise and RIR sets of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spkssl.audio.read import info
from spkssl.corpora.sets import require_folder, write_set
from spkssl.errors import complain
from spkssl.io.tables import read_lines, write_table

KINDS = ("music", "noise", "speech")  # the folders of MUSAN and the kinds of a noise set
SIMULATED = ("smallroom", "mediumroom", "largeroom")
REAL = "real"
_GET_MUSAN = "unpack musan.tar.gz of openslr.org/17 and name the folder musan"
_GET_RIRS = "unpack rirs_noises.zip of openslr.org/28 and name the folder RIRS_NOISES"


def prepare_musan(root: Path, out: Path) -> dict[str, int]:
    """Write the noise set `out`: wav.scp, utt2dur, utt2spk, spk2utt, utt2kind. Returns the number of files by kind.

    Ids are MUSAN's own file names, e.g. noise-free-sound-0000.
    """
    root = require_folder(Path(root), _GET_MUSAN)
    files: dict[str, Path] = {}
    kinds: dict[str, str] = {}
    for kind in KINDS:
        found = sorted(require_folder(root / kind, _GET_MUSAN).glob("*/*.wav"))  # <kind>/<source>/<file>.wav
        if not found:
            raise complain(root / kind, "holds no <source>/<file>.wav", _GET_MUSAN)
        for path in found:
            _add(files, path.stem, path)
            kinds[path.stem] = kind
    write_set(out, files, {name: _seconds(path) for name, path in files.items()})
    write_table(out / "utt2kind", kinds)
    return {kind: list(kinds.values()).count(kind) for kind in KINDS}


def prepare_rirs(root: Path, out: Path, rooms: Sequence[str] = SIMULATED) -> dict[str, int]:
    """Write the RIR set `out`: wav.scp, utt2spk, spk2utt. Returns the number of responses of each room size.

    Ids are `<room size>-<file name>`, since every size has its own Room001. `real` stands for the measured responses,
    some of which have several channels: the first one is what is read.
    """
    root = require_folder(Path(root), _GET_RIRS)
    files: dict[str, Path] = {}
    counts: dict[str, int] = {}
    for room in rooms:
        found = _real(root) if room == REAL else sorted((root / "simulated_rirs" / room).glob("*/*.wav"))
        if not found:
            raise complain(root / "simulated_rirs" / room, "holds no <room>/<file>.wav", _GET_RIRS)
        for path in found:
            _add(files, f"{room}-{path.stem}", path)
        counts[room] = len(found)
    write_set(out, files)
    return counts


def _real(root: Path) -> list[Path]:
    """The responses of the list: the folder holds noises as well. Its paths start at the parent of RIRS_NOISES."""
    table = root / "real_rirs_isotropic_noises" / "rir_list"
    if not table.exists():
        raise complain(table, "no such file", _GET_RIRS)
    found = []
    for number, line in enumerate(read_lines(table), 1):
        fields = line.decode("utf-8", "replace").split()  # --rir-id <id> --room-id <id> <path>
        if len(fields) != 5:
            raise complain(f"{table}:{number}", f"expected `--rir-id ID --room-id ID PATH`, got {' '.join(fields)!r}")
        path = root / Path(*Path(fields[4]).parts[1:])
        if not path.is_file():
            raise complain(f"{table}:{number}", f"{path} does not exist", _GET_RIRS)
        found.append(path)
    return sorted(found)


def _add(files: dict[str, Path], name: str, path: Path) -> None:
    if name in files:
        raise complain(path, f"has the same name as {files[name]}", "keep one of the two")
    files[name] = path


def _seconds(path: Path) -> float:
    found = info(path)
    if not found.num_samples:
        raise complain(path, "holds no samples", "fetch the file again")
    return found.num_samples / found.sample_rate
