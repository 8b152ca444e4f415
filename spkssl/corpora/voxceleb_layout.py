"""VoxCeleb1 and 2 as distributed: folders, names, and how much there must be of each part.

voxceleb1/{dev,test}/wav/id10270/5r0dWxy17C8/00001.wav     or both parts together in voxceleb1/wav
voxceleb2/{dev,test}/aac/id00017/01dfn2spqyE/00001.m4a
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from spkssl.corpora.sets import opaque, require_folder
from spkssl.errors import choose, complain, some

_UTT = re.compile(r"(id\d{5})-([A-Za-z0-9_-]{11})-(\d{5})")
_PATH = re.compile(r"(id\d{5})/([A-Za-z0-9_-]{11})/(\d{5})(?:\.(?:wav|m4a))?")
_PARTS = (re.compile(r"id\d{5}"), re.compile(r"[A-Za-z0-9_-]{11}"), re.compile(r"\d{5}"))
_KINDS = ("speaker folder id00000", "video folder of 11 characters", "segment 00000")


class Utt(NamedTuple):
    """A segment of a video of a speaker. Sorts as its name does."""

    speaker: str
    video: str
    segment: str

    @property
    def name(self) -> str:
        """Kaldi's utterance id. A video may begin with and contain "-": take ids apart by position, not at "-"."""
        return f"{self.speaker}-{self.video}-{self.segment}"

    @property
    def opaque(self) -> str:
        """Its id for training."""
        return opaque("voxceleb", *self)

    @staticmethod
    def of_name(name: str) -> Utt:
        return _match(_UTT, name, "<speaker>-<video>-<segment>")

    @staticmethod
    def of_path(path: str) -> Utt:
        """From what trial lists and archives call it, e.g. id10270/x6uYqmx31kE/00001.wav."""
        return _match(_PATH, path, "<speaker>/<video>/<segment>.wav")


class Count(NamedTuple):
    """Of a part of the corpus its speakers and utterances, of a list its targets and trials."""

    groups: int
    all: int


# Nagrani et al. 2017, Chung et al. 2018, and the lists of the authors' site (the cleaned O counted)
PUBLISHED = {
    "vox1-dev": Count(1211, 148_642), "vox1-test": Count(40, 4_874), "vox1-all": Count(1251, 153_516),
    "vox2-dev": Count(5994, 1_092_009), "vox2-test": Count(118, 36_237),
    "vox1-o": Count(18_860, 37_720), "vox1-o-clean": Count(18_802, 37_611),
    "vox1-e": Count(290_743, 581_480), "vox1-e-clean": Count(289_921, 579_818),
    "vox1-h": Count(276_270, 552_536), "vox1-h-clean": Count(275_488, 550_894),
}  # fmt: skip
LISTS = {
    "vox1-o": "veri_test.txt", "vox1-o-clean": "veri_test2.txt",
    "vox1-e": "list_test_all.txt", "vox1-e-clean": "list_test_all2.txt",
    "vox1-h": "list_test_hard.txt", "vox1-h-clean": "list_test_hard2.txt",
}  # fmt: skip


def read_expected(text: str) -> dict[str, Count]:
    """`published`, `none`, or a JSON file {"vox2-dev": [speakers, utterances], "vox1-o": [targets, trials]}.

    What the file does not name is not checked.
    """
    if text in ("published", "none"):
        return PUBLISHED if text == "published" else {}
    try:
        found = json.loads(Path(text).read_text(encoding="utf-8"))
        return {choose(text, name, PUBLISHED): Count(*map(int, pair)) for name, pair in found.items()}
    except FileNotFoundError:
        raise complain(text, "no such file", "give --expect published, none, or a JSON file of counts") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise complain(text, f'expected JSON like {{"vox2-dev": [5994, 1092009]}} ({error})') from None


def check_count(where: object, name: str, got: Count, expected: Mapping[str, Count]) -> None:
    if name in expected and got != expected[name]:
        what, groups = ("trials", "targets") if name in LISTS else ("utterances", "speakers")
        of = "{0.all} %s with {0.groups} %s" % (what, groups)
        do = "fetch and unpack it again, or say what there should be by --expect FILE|none"
        raise complain(where, f"wrong count (got {of.format(got)}, expected {of.format(expected[name])})", do)


def find_vox1(root: Path, expected: Mapping[str, Count], dev: bool) -> dict[Utt, Path]:
    """The recordings of VoxCeleb1, those of the development part only if asked for."""
    do = "unpack vox1_dev_wav.zip to voxceleb1/dev and vox1_test_wav.zip to voxceleb1/test"
    root = require_folder(root, do)
    if (root / "wav").is_dir() and not (root / "test").exists():
        return _find(root / "wav", ".wav", "vox1-all", expected, do)
    found = _find(root / "test" / "wav", ".wav", "vox1-test", expected, do)
    return found | _find(root / "dev" / "wav", ".wav", "vox1-dev", expected, do) if dev else found


def find_vox2(root: Path, part: str, expected: Mapping[str, Count]) -> dict[Utt, Path]:
    """The recordings of VoxCeleb2's part `dev` or `test`."""
    do = f"unpack vox2_{part}_aac.zip to voxceleb2/{part}"
    return _find(require_folder(root, do) / part / "aac", ".m4a", f"vox2-{part}", expected, do)


def _find(folder: Path, suffix: str, name: str, expected: Mapping[str, Count], do: str) -> dict[Utt, Path]:
    found: dict[Utt, Path] = {}
    strange: list[str] = []
    for speaker in _entries(require_folder(folder, do), 0, strange):
        for video in _entries(speaker, 1, strange):
            for segment in _entries(video, 2, strange, suffix):
                found[Utt(speaker.name, video.name, segment.stem)] = segment
    if strange:
        raise complain(folder, f"holds what is none of the corpus: {some(strange)}", "move it away")
    if not found:
        raise complain(folder, f"holds no <speaker>/<video>/<segment>{suffix}", do)
    check_count(folder, name, Count(len({utt.speaker for utt in found}), len(found)), expected)
    return found


def _entries(folder: Path, level: int, strange: list[str], suffix: str = "") -> list[Path]:
    """What is in a folder, sorted, hidden files aside."""
    kept = []
    try:
        names = sorted(entry for entry in os.listdir(folder) if not entry.startswith("."))
    except NotADirectoryError:
        strange.append(str(folder))
        return []
    for entry in names:
        if entry.endswith(suffix) and _PARTS[level].fullmatch(entry.removesuffix(suffix)):
            kept.append(folder / entry)
        else:
            strange.append(f"{folder / entry} (expected a {_KINDS[level]}{suffix})")
    return kept


def _match(pattern: re.Pattern[str], text: str, form: str) -> Utt:
    match = pattern.fullmatch(text)
    if match is None:
        raise complain(repr(text), f"is no name of VoxCeleb (expected {form})")
    return Utt(*match.groups())
