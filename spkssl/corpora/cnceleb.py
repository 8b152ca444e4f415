"""CN-Celeb 1 and 2 (openslr.org/82) as data directories: both development parts to train, CN-Celeb 1's eval to test.

    CN-Celeb_flac/data/<spk>/<genre>-<session>-<utt>.flac, dev/dev.lst, eval/{enroll,test,lists}
    CN-Celeb2_flac/data/<spk>/<genre>-<session>-<utt>.flac, spk.lst
The lists name files .wav in the FLAC release too. Ids of the test set are Kaldi's: <spk>-<genre>-<session>-<utt>, and
<spk>-enroll for an enrolment that is one concatenated file. The training set carries no labels: its ids are opaque,
every utterance is its own speaker, and what is known about it lies in `ref/`, which training never reads. Joining short
utterances is the exception: whose they are is taken from the corpus's folders, so it uses speaker labels.

There are two ways of enrolment, whose results must not be mixed up. `cnceleb_average`: a model is the average of the
embeddings of its utterances in enroll.map. `cnceleb_concatenated`: it is the embedding of eval/enroll/<spk>-enroll.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from spkssl.audio.read import info
from spkssl.contract import SAMPLE_RATE
from spkssl.corpora.cnceleb_trials import AVERAGE, CONCATENATED, Evaluation, read_evaluation
from spkssl.corpora.join import join_files, join_groups
from spkssl.corpora.sets import by_opaque, opaque, require_folder, write_set, write_truth
from spkssl.errors import complain, some
from spkssl.io.tables import read_lines, read_table, write_lists
from spkssl.io.trials import write_trials

CORPUS = "cnceleb"
PUBLISHED = {
    "dev.lst": {"speakers": 797},
    "spk.lst": {"speakers": 1996},
    "eval": {"enrolments": 196, "test speakers": 200, "test files": 17777, "trials": 3484292, "targets": 17755},
}
_MADE_LATER = ("utt2dur", "feats.scp", "utt2num_frames", "vad.scp")
_AUDIO = (".flac", ".wav")  # the first release is WAV
_GET = "unpack openslr.org/82 and name the folder itself, e.g. CN-Celeb_flac"


@dataclass(frozen=True)
class Cnceleb:
    """Where the corpora are and what to make of them."""

    first: Path  # CN-Celeb_flac
    second: Path  # CN-Celeb2_flac
    out: Path  # of the data directories
    audio: Path  # of joined utterances
    join: float = 0.0  # seconds: shorter training utterances join others of their speaker and genre, by true labels
    published: bool = True  # counts must be those of the release
    nj: int = 1


class Utt(NamedTuple):
    speaker: str
    genre: str
    session: str
    number: str

    @property
    def name(self) -> str:
        return "-".join(self)

    @classmethod
    def of(cls, speaker: str, stem: str, where: object) -> Utt:
        """From the stem of a file in the speaker's folder; a genre may contain `_`."""
        parts = stem.split("-")
        if len(parts) != 3 or not all(parts):
            raise complain(where, f"expected a name <genre>-<session>-<utt>, got {stem!r}", _GET)
        return cls(speaker, *parts)


def prepare(config: Cnceleb, say: Callable[[str], object] = lambda text: None) -> dict[str, int]:
    """Write `out/{train,test}`; returns the number of utterances of each. The corpora are only read."""
    first = require_folder(config.first, _GET)
    second = require_folder(config.second, _GET)
    lists = {"dev.lst": first / "dev" / "dev.lst", "spk.lst": second / "spk.lst"}
    speakers = {name: _speakers(path) for name, path in lists.items()}
    found = read_evaluation(first)
    counts = {name: {"speakers": len(names)} for name, names in speakers.items()} | {"eval": found.counts()}
    if config.published:
        _check_counts(counts)
    shared = sorted({*speakers["dev.lst"], *speakers["spk.lst"]} & set(found.speakers.values()))
    if shared:
        raise complain(lists["dev.lst"], f"names speakers of eval: {some(shared)}", "check what was unpacked where")
    train = _recordings(first / "data", speakers["dev.lst"], lists["dev.lst"])
    train |= _recordings(second / "data", speakers["spk.lst"], lists["spk.lst"])
    audio, seconds = _join(config, train, say) if config.join else (train, None)
    _write_train(config.out / "train", audio, seconds)
    _write_test(config.out / "test", found)
    return {"train": len(audio), "test": len(found.audio)}


def _listing(folder: Path) -> dict[str, Path]:
    """The audio files of a folder by their stems."""
    files: dict[str, Path] = {}
    for path in sorted(require_folder(folder, _GET).iterdir()):
        if path.suffix in _AUDIO:
            if path.stem in files:
                raise complain(path, f"is there twice, see {files[path.stem]}", "keep one of the two")
            files[path.stem] = path
    return files


def _speakers(path: Path) -> list[str]:
    names = [line.decode("utf-8", "replace").strip() for line in read_lines(path)]
    if not names or len(set(names)) < len(names) or not all(names):
        raise complain(path, "expected speakers, one per line and each once", _GET)
    return sorted(names)


def _recordings(data: Path, speakers: Iterable[str], named_by: Path) -> dict[Utt, Path]:
    found: dict[Utt, Path] = {}
    for speaker in speakers:
        folder = data / speaker
        if not folder.is_dir():
            raise complain(folder, f"no such folder, though {named_by} names the speaker", _GET)
        files = _listing(folder)
        if not files:
            raise complain(folder, "holds no audio", _GET)
        found |= {Utt.of(speaker, stem, path): path for stem, path in files.items()}
    return found


def _join(
    config: Cnceleb, train: Mapping[Utt, Path], say: Callable[[str], object]
) -> tuple[dict[Utt, Path], dict[Utt, float]]:
    """Audio and seconds of the training set with its short utterances joined: <first of them>-comb<how many>."""
    say(f"SPEAKER LABELS USED: utterances below {config.join:g} s are joined with others of their speaker and genre")
    with ThreadPoolExecutor(config.nj) as pool:
        samples = dict(zip(train.values(), pool.map(_samples, train.values()), strict=True))
    audio: dict[Utt, Path] = {}
    places: dict[Path, list[Path]] = {}
    seconds: dict[Utt, float] = {}
    for _, group in groupby(sorted(train), key=lambda utt: utt[:2]):  # a speaker's recordings of one genre
        utts = list(group)
        lengths = [samples[train[utt]] / SAMPLE_RATE for utt in utts]
        for rows in join_groups(lengths, config.join):
            first, sources = utts[rows[0]], [train[utts[row]] for row in rows]
            utt = first if len(rows) == 1 else first._replace(number=f"{first.number}-comb{len(rows)}")
            audio[utt] = sources[0]
            if len(rows) > 1:
                key = opaque(CORPUS, *utt)
                # Two letters of the end as folders: thousands of files in each, where one of a million would be slow.
                audio[utt] = config.audio / "train" / key[-2:] / f"{key}.flac"
                places[audio[utt]] = sources
            seconds[utt] = sum(lengths[row] for row in rows)
    join_files(places, samples, config.nj, lambda forecast: say(f"joining: {forecast}"))
    return audio, seconds


def _samples(path: Path) -> int:
    return info(path).num_samples


def _write(
    folder: Path,
    audio: Mapping[str, Path],
    seconds: Mapping[str, float] | None = None,
    speakers: Mapping[str, str] | None = None,
) -> None:
    """A set; what later stages made of another selection of utterances goes."""
    wav = folder / "wav.scp"
    if not wav.exists() or read_table(wav) != {name: str(path.resolve()) for name, path in sorted(audio.items())}:
        for name in _MADE_LATER:
            (folder / name).unlink(missing_ok=True)
    write_set(folder, audio, seconds, speakers)


def _write_train(folder: Path, audio: Mapping[Utt, Path], seconds: Mapping[Utt, float] | None) -> None:
    utts = by_opaque(CORPUS, audio)
    lengths = {key: seconds[utt] for key, utt in utts.items()} if seconds is not None else None
    _write(folder, {key: audio[utt] for key, utt in utts.items()}, lengths)
    truth = {
        "utt2spk": {key: utt.speaker for key, utt in utts.items()},
        "utt2session": {key: f"{utt.speaker}-{utt.genre}-{utt.session}" for key, utt in utts.items()},
        "utt2genre": {key: utt.genre for key, utt in utts.items()},
        "utt2name": {key: utt.name for key, utt in utts.items()},
    }
    write_truth(folder, truth)


def _write_test(folder: Path, found: Evaluation) -> None:
    """One set for both ways of enrolment, so that a test file is embedded once."""
    _write(folder, found.audio, None, found.speakers)
    for name in (AVERAGE, CONCATENATED):
        write_trials(folder / "trials" / name, found.trials)
    write_lists(folder / "trials" / f"{AVERAGE}.enroll", found.models)


def _check_counts(counts: Mapping[str, Mapping[str, int]]) -> None:
    for name, wanted in PUBLISHED.items():
        wrong = [f"{counts[name][what]} {what} instead of {n}" for what, n in wanted.items() if counts[name][what] != n]
        if wrong:
            do = "fetch and unpack it again, or go on with what there is by --expect none"
            raise complain(name, f"not what was published: {', '.join(wrong)}", do)
