"""Checking a data directory: what Kaldi's validate_data_dir.sh asks, and what only shows hours later otherwise."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from spkssl.errors import InputError, some
from spkssl.io.checker import Checker, Table, names
from spkssl.io.location import parse
from spkssl.io.tables import read_lists, read_table
from spkssl.io.trials import read_trials

_SPK_FILES = ("cmvn.scp", "spk2gender", "spk2warp")
_UTT_FILES = ("utt2warp", "vad.scp", "utt2lang", "utt2uniq", "utt2kind")
_MARKS = {b"<s>", b"</s>", b"#0"}  # words that Kaldi's graphs reserve
_PLAUSIBLE = (0.05, 36000.0)  # seconds: nothing shorter has a usable frame, nothing longer is one utterance


@dataclass(frozen=True)
class Rules:
    """What a directory must have. `strict=False` asks what Kaldi asks and no more."""

    feats: bool = False
    text: bool = False
    wav: bool = True
    spk_sort: bool = True
    strict: bool = True
    allow_pipes: bool = False


class Report(NamedTuple):
    problems: list[str]  # `where: what; remedy`; empty when the directory is valid
    remarks: list[str]  # unusual, but allowed


def validate(
    path: str | Path,
    *,
    need_feats: bool = False,
    need_text: bool = False,
    need_wav: bool = True,
    spk_sort: bool = True,
    strict: bool = True,
    allow_pipes: bool = False,
) -> list[str]:
    """Every defect of a data directory as `where: what; remedy`; an empty list means that it is valid.

    Strict checks go beyond Kaldi's: files exist, no pipes unless allowed, ids that differ by case only, plausible
    durations, trials that resolve.
    """
    return examine(path, Rules(need_feats, need_text, need_wav, spk_sort, strict, allow_pipes)).problems


def examine(path: str | Path, rules: Rules) -> Report:
    """The defects of a data directory, and what is merely unusual."""
    check = Checker(Path(path), rules.strict)
    if not check.folder.is_dir():
        return Report([f"{path}: no such data directory; run stage 1 (prepare) or check the path"], [])
    utts, speakers = _check_speakers(check, rules.spk_sort)
    recordings = _check_recordings(check, utts, rules.wav)
    check.same(check.table("feats.scp", rules.feats, "run stage 2 (features)"), utts, "utt2spk", "utterance")
    _check_text(check, utts, rules.text)
    for name in _SPK_FILES:
        table = check.table(name)
        check.same(table, speakers, "spk2utt", "speaker")
        if table is not None and name == "spk2gender":
            check.each(table, lambda fields: fields[1:] not in ([b"m"], [b"f"]), "expected `speaker m|f`")
    for name in _UTT_FILES:
        check.same(check.table(name), utts, "utt2spk", "utterance")
    _check_values(check, utts, recordings)
    if rules.strict:
        _check_files(check, rules.allow_pipes)
        _check_case(check, utts, "utterance")
        _check_case(check, speakers, "speaker")
        _check_trials(check, utts)
    return Report(check.problems, check.remarks)


def overlap(path: str | Path, other: str | Path) -> list[str]:
    """The speakers that two sets share, as a problem; true labels in ref/utt2spk count where they exist."""
    speakers = []
    for folder in (Path(path), Path(other)):
        reference = folder / "ref" / "utt2spk"
        speakers.append(set(read_table(reference if reference.exists() else folder / "utt2spk").values()))
    shared = sorted(speakers[0] & speakers[1])
    if not shared:
        return []
    return [f"{path}: shares speakers with {other}: {some(shared)}; take these speakers out of the training set"]


def _check_speakers(check: Checker, spk_sort: bool) -> tuple[dict[bytes, int], dict[bytes, int]]:
    utt2spk = check.table("utt2spk", required=True)
    if utt2spk is not None:
        check.each(utt2spk, lambda fields: len(fields) != 2, "expected `utterance speaker`")
    sound = not check.problems  # else what follows would only say the same again
    spk2utt = check.table("spk2utt", required=True, remedy=check.fix)
    utts, speakers = ({} if table is None else table.keys for table in (utt2spk, spk2utt))
    if utt2spk is not None and sound:
        if spk_sort:
            _check_speaker_order(check, utt2spk)
        if spk2utt is not None:
            _check_inverse(check, utt2spk, spk2utt)
        if len({line.fields[1] for line in utt2spk.lines}) == 1 < len(utts):
            check.remarks.append(f"{utt2spk.path}: there is only one speaker")
    return utts, speakers


def _check_inverse(check: Checker, utt2spk: Table, spk2utt: Table) -> None:
    expanded = [(utt, line.fields[0]) for line in spk2utt.lines for utt in line.fields[1:]]
    for row, line in enumerate(utt2spk.lines):
        if row >= len(expanded) or tuple(line.fields) != expanded[row]:
            what = "does not say the same as spk2utt from here on"
            return check.say(f"{utt2spk.path}:{line.number}", what, check.fix)
    if len(expanded) > len(utt2spk.lines):
        check.say(spk2utt.path, f"has {len(expanded)} utterances, utt2spk has {len(utt2spk.lines)}", check.fix)
    return None


def _check_speaker_order(check: Checker, utt2spk: Table) -> None:
    """Sorted from the second field on means sorted by speaker: true when speakers are prefixes of utterances."""
    raw = utt2spk.path.read_bytes().split(b"\n")
    previous = b""
    for line in utt2spk.lines:
        text = raw[line.number - 1]
        start = len(text) - len(text.lstrip(b" \t")) + len(line.fields[0] if line.fields else b"")
        key = text[start:]  # as `sort -k2` sees it, white space in front included
        if key < previous:
            what = "utterances and speakers sort differently"
            do = "make the speaker a prefix of the utterance id, with single spaces, or give --no-spk-sort"
            return check.say(f"{utt2spk.path}:{line.number}", what, do)
        previous = key
    return None


def _check_recordings(check: Checker, utts: dict[bytes, int], need_wav: bool) -> dict[bytes, int]:
    """wav.scp, segments and reco2file_and_channel agree; returns the recordings (the utterances without segments)."""
    wav, segments = check.table("wav.scp", need_wav), check.table("segments")
    recordings, source = utts, "utt2spk"
    if wav is not None:
        check.each(wav, lambda fields: len(fields) < 2, "expected `recording path`")
        check.each(wav, lambda fields: len(fields) > 1 and fields[1].startswith(b"~"), "a path cannot begin with ~")
    if segments is not None:
        if wav is None:
            check.say(segments.path, "needs wav.scp beside it", "write wav.scp, or remove segments")
        check.each(segments, _bad_segment, "expected `utterance recording start end` with start < end")
        check.same(segments, utts, "utt2spk", "utterance")
        source = "segments"
        recordings = {line.fields[1]: line.number for line in segments.lines if len(line.fields) > 1}
    check.same(wav, recordings, source, "recording" if segments is not None else "utterance")
    channels = check.table("reco2file_and_channel")
    if channels is not None:
        wrong = "expected `recording file channel` with channel A or B"
        check.each(channels, lambda fields: len(fields) != 3 or fields[2] not in (b"A", b"B", b"1"), wrong)
        check.same(channels, recordings, source, "recording")
    return recordings


def _check_text(check: Checker, utts: dict[bytes, int], need_text: bool) -> None:
    text = check.table("text", need_text)
    check.same(text, utts, "utt2spk", "utterance")
    if text is not None and need_text:
        check.each(text, lambda fields: bool(_MARKS & set(fields[1:])), "has a word that Kaldi reserves")
        check.each(text, lambda fields: not _is_utf8(b" ".join(fields)), "not valid UTF-8")


def _check_values(check: Checker, utts: dict[bytes, int], recordings: dict[bytes, int]) -> None:
    rules = (
        ("utt2dur", utts, "utt2spk", lambda text: _in_range(text, 0), "seconds above 0"),
        ("utt2num_frames", utts, "utt2spk", lambda text: text.isdigit() and int(text) > 0, "a positive integer"),
        ("reco2dur", recordings, "wav.scp", lambda text: _in_range(text, 0), "seconds above 0"),
    )
    for name, keys, source, right, expected in rules:
        table = check.table(name)
        if table is None:
            continue
        check.same(table, keys, source, "key")
        what = f"expected a key and {expected}"
        check.each(table, lambda fields: len(fields) != 2 or not right(fields[1]), what, check.fix)
        if check.strict and name == "utt2dur":
            what = f"implausible duration (expected {_PLAUSIBLE[0]:g} to {_PLAUSIBLE[1]:g} s)"
            check.each(table, _is_odd_duration, what, "check this recording")


def _check_files(check: Checker, allow_pipes: bool) -> None:
    """Audio files and feature archives exist, and nothing is a command."""
    for name in ("wav.scp", "feats.scp", "vad.scp"):
        path = check.folder / name
        if not path.exists():
            continue
        pipes, absent, known = [], [], {}
        for number, key, rest in _entries(path):
            if "|" in rest:
                pipes.append((number, key))
                continue
            target = rest if name == "wav.scp" else _archive(rest)
            if target not in known:
                known[target] = Path(target).is_file()
            if not known[target]:
                absent.append((number, target))
        if pipes and not (allow_pipes and name == "wav.scp"):
            do = "write the audio to files, or give --allow-pipes" if name == "wav.scp" else "write archives to files"
            check.say(f"{path}:{pipes[0][0]}", f"piped commands for {some(key for _, key in pipes)}", do)
        if absent:
            what = f"no such file: {some(target for _, target in absent)}"
            check.say(f"{path}:{absent[0][0]}", what, "check the paths (relative ones start at the current folder)")


def _check_case(check: Checker, keys: dict[bytes, int], kind: str) -> None:
    """Two ids that differ by case only meet in one file on some file systems."""
    seen: dict[str, bytes] = {}
    for key, number in keys.items():
        folded = key.decode("utf-8", "replace").casefold()
        if seen.setdefault(folded, key) != key:
            name = "utt2spk" if kind == "utterance" else "spk2utt"
            what = f"{kind}s {names([seen[folded], key])} differ by case only"
            return check.say(f"{check.folder / name}:{number}", what, "rename one of them")
    return None


def _check_trials(check: Checker, utts: dict[bytes, int]) -> None:
    """Every trial list in trials/ names utterances of the set, or models that its .enroll makes of them."""
    known = {utt.decode("utf-8", "replace") for utt in utts}
    folder, do = check.folder / "trials", "prepare the trials together with this set"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.endswith(".enroll") or path.name.startswith(".") or not path.is_file():
            continue
        models = path.with_name(path.name + ".enroll")
        try:
            trials, members = read_trials(path), read_lists(models) if models.exists() else None
        except InputError as error:
            check.problems.append(str(error))
            continue
        enrolled = trials.enrol_names if members is None else [utt for model in members.values() for utt in model]
        unknown = [name for name in dict.fromkeys([*trials.test_names, *enrolled]) if name not in known]
        if unknown:
            check.say(path, f"names utterances that utt2spk lacks: {some(unknown)}", do)
        absent = [name for name in trials.enrol_names if members is not None and name not in members]
        if absent:
            check.say(path, f"names models that {models.name} lacks: {some(absent)}", do)


def _entries(path: Path) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        key, _, rest = line.strip().decode("utf-8", "replace").partition(" ")
        if rest:
            yield number, key, rest.strip()


def _archive(location: str) -> str:
    try:
        return parse(location).path
    except InputError:
        return location


def _bad_segment(fields: list[bytes]) -> bool:
    try:
        return len(fields) != 4 or not 0 <= float(fields[2]) < float(fields[3]) < float("inf")
    except ValueError:
        return True


def _in_range(text: bytes, low: float, high: float = float("inf")) -> bool:
    try:
        return low < float(text) < high
    except ValueError:
        return False


def _is_odd_duration(fields: list[bytes]) -> bool:
    return len(fields) == 2 and _in_range(fields[1], 0) and not _in_range(fields[1], *_PLAUSIBLE)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
