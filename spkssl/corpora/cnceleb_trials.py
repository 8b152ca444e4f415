"""The evaluation of CN-Celeb: eval/lists/{enroll.lst, enroll.map, test.lst, trials.lst} and the audio they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from spkssl.corpora.sets import require_folder
from spkssl.errors import complain
from spkssl.io.columns import read_blocks
from spkssl.io.tables import read_lines, read_lists, read_table
from spkssl.io.trials import Trials

AVERAGE, CONCATENATED = "cnceleb_average", "cnceleb_concatenated"
_ID = 7  # letters of a speaker's id, with which every name begins
_LABELS = {b"1": True, b"0": False}
_GET = "unpack cn-celeb_v2.tar.gz of openslr.org/82 again"


@dataclass(frozen=True)
class Evaluation:
    audio: dict[str, Path]  # test files, concatenated enrolments, and the utterances of enroll.map
    speakers: dict[str, str]  # of the same
    models: dict[str, list[str]]  # enrolment -> its utterances
    trials: Trials

    def counts(self) -> dict[str, int]:
        target = self.trials.target
        assert target is not None
        return {
            "enrolments": len(self.trials.enrol_names),
            "test speakers": len({name[:_ID] for name in self.trials.test_names}),
            "test files": len(self.trials.test_names),
            "trials": len(self.trials),
            "targets": int(target.sum()),
        }


def read_evaluation(root: Path) -> Evaluation:
    """Everything the lists name, each file found; an InputError names what is missing or contradicts the ids."""
    lists = require_folder(root / "eval" / "lists", _GET)
    enrol = {model: _file(root / "eval", name, lists / "enroll.lst") for model, name in _enrolments(lists).items()}
    sources = read_lists(lists / "enroll.map")  # <spk>/<file>.wav below data/
    if sources.keys() != enrol.keys():
        odd = sorted(sources.keys() ^ enrol.keys())[0]
        raise complain(lists / "enroll.map", f"does not name the models of enroll.lst, e.g. {odd}", _GET)
    models, members = {}, {}
    for model, names in sources.items():
        models[model] = ["-".join(PurePosixPath(name).with_suffix("").parts) for name in names]
        members |= {utt: _file(root / "data", name, lists / "enroll.map") for utt, name in zip(models[model], names)}
    tests = [line.decode("utf-8", "replace").strip() for line in read_lines(lists / "test.lst")]
    test = {PurePosixPath(name).stem: _file(root / "eval", name, lists / "test.lst") for name in tests}
    audio = {**members, **enrol, **test}
    for name in audio:
        if name[_ID : _ID + 1] != "-":
            raise complain(lists, f"{name} does not begin with the id of a speaker, like id00800-", _GET)
    speakers = {name: name[:_ID] for name in audio}
    for model, utts in models.items():
        if {speakers[utt] for utt in utts} != {speakers[model]}:
            raise complain(lists / "enroll.map", f"gives {model} utterances of another speaker", _GET)
    return Evaluation(audio, speakers, models, _trials(lists / "trials.lst", list(enrol), tests, speakers))


def _enrolments(lists: Path) -> dict[str, str]:
    """Model -> its concatenated file, from lines `id00800-enroll enroll/id00800-enroll.wav`."""
    found = read_table(lists / "enroll.lst")
    for model, name in found.items():
        if PurePosixPath(name).stem != model:
            raise complain(lists / "enroll.lst", f"{model} has the file {name} (expected {model}.wav)", _GET)
    return found


def _file(root: Path, name: str, named_by: Path) -> Path:
    """The lists say .wav, whatever the release holds."""
    named = root / name
    for path in (named.with_suffix(".flac"), named):
        if path.is_file():
            return path
    raise complain(named.with_suffix(".flac"), f"no such file, though {named_by} names it", _GET)


def _trials(path: Path, models: list[str], tests: list[str], speakers: Mapping[str, str]) -> Trials:
    """Lines `id00800-enroll test/id00800-singing-01-005.wav 1`; a label that contradicts the ids is an InputError."""
    layout = "model test/file.wav 1|0"
    names = [PurePosixPath(name).stem for name in tests]
    enrol_row = {name.encode(): row for row, name in enumerate(models)}
    test_row = {name.encode(): row for row, name in enumerate(tests)}
    numbers = {name: n for n, name in enumerate(sorted(set(speakers.values())))}
    enrol_speaker = np.array([numbers[speakers[name]] for name in models])
    test_speaker = np.array([numbers[speakers[name]] for name in names])
    parts = []
    for block in read_blocks(path, 3, layout):
        columns = []
        known = ((enrol_row, "enroll.lst"), (test_row, "test.lst"), (_LABELS, layout))
        for words, (table, what) in zip(block.columns, known, strict=True):
            unknown = next((row for row, word in enumerate(words) if word not in table), None)
            if unknown is not None:
                word = words[unknown].decode("utf-8", "replace")
                raise complain(f"{path}:{block.line + unknown}", f"{word} is not in {what}", _GET)
            columns.append(np.fromiter(map(table.__getitem__, words), np.int32, len(words)))
        same = enrol_speaker[columns[0]] == test_speaker[columns[1]]
        wrong = np.flatnonzero(same != columns[2].astype(bool))
        if len(wrong):
            said = f"{models[columns[0][wrong[0]]]} {names[columns[1][wrong[0]]]}"
            what = f"the label of {said} contradicts the speakers' ids"
            raise complain(f"{path}:{block.line + wrong[0]}", what, _GET)
        parts.append([*columns[:2], same])
    if not parts:
        raise complain(path, "is empty", _GET)
    enrol, test, target = map(np.concatenate, zip(*parts))
    return Trials(models, names, enrol, test, target)
