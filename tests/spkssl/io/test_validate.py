import json
import shutil
from pathlib import Path

import pytest

from spkssl.errors import InputError
from spkssl.io.fix import fix
from spkssl.io.validate import Rules, examine, overlap, validate

VERDICTS = json.loads((Path(__file__).parents[2] / "golden/datadirs/verdicts.json").read_text())


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_scp", ".scp")).write_bytes(text.encode())
    return folder


def content(folder):
    return {path.name: path.read_bytes().decode() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def sound(tmp_path):
    """A directory without any defect, strictly seen."""
    wav = write(tmp_path, x_wav="") / "x_wav"
    utt2spk = "a-1 a\na-2 a\nb-1 b\n"
    return write(
        tmp_path / "data",
        utt2spk=utt2spk,
        spk2utt="a a-1 a-2\nb b-1\n",
        wav_scp="".join(f"{line.split()[0]} {wav}\n" for line in utt2spk.splitlines()),
        utt2dur="a-1 1.5\na-2 2\nb-1 3\n",
    )


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict_is_kaldis(golden, name):
    problems = validate(golden / "datadirs" / name, strict=False)
    assert (not problems) == VERDICTS[name]["says_valid"]
    assert all("\n" not in problem and name in problem for problem in problems)


@pytest.mark.parametrize("name", [name for name in VERDICTS if not VERDICTS[name]["says_valid"]])
def test_every_defect_says_where_and_what_to_do(golden, name):
    for problem in validate(golden / "datadirs" / name, strict=False):
        where, _, what = problem.partition(": ")
        assert Path(where.split(":")[0]).parent.name == name and ";" in what
        assert name == "08_missing_file" or where.split(":")[1].isdigit()


@pytest.mark.parametrize("name", VERDICTS)
def test_fix_leaves_what_kaldi_leaves_or_better(golden, tmp_path, name):
    folder, verdict = tmp_path / "data", VERDICTS[name]
    shutil.copytree(golden / "datadirs" / name, folder)
    original = content(folder)
    if name in ("06_spaces", "07_spk_not_prefix"):  # Kaldi leaves these broken and half written
        with pytest.raises(InputError):
            fix(folder)
        assert content(folder) == original
        return
    fixed = fix(folder)
    valid = not validate(folder, strict=False)
    assert valid >= verdict["fix_says_valid"]
    if valid == verdict["fix_says_valid"]:  # Kaldi leaves carriage returns in wav.scp, we do not
        assert content(folder) == {file: text.replace("\r", "") for file, text in verdict["after_fix"].items()}
    if fixed.changed:
        assert content(folder / ".backup") == original
    after = content(folder)
    assert fix(folder).changed == [] and content(folder) == after


@pytest.mark.parametrize(("ids", "valid"), [(("id1-a", "id10-a"), True), (("id1_a", "id10_a"), False)])
def test_separator_decides_whether_both_orders_agree(tmp_path, ids, valid):
    utts = sorted(ids)
    speaker = {"id1-a": "id1", "id10-a": "id10", "id1_a": "id1", "id10_a": "id10"}
    write(
        tmp_path,
        utt2spk="".join(f"{utt} {speaker[utt]}\n" for utt in utts),
        spk2utt="".join(f"{spk} {utt}\n" for spk, utt in sorted((speaker[utt], utt) for utt in utts)),
        wav_scp="".join(f"{utt} a.wav\n" for utt in utts),
    )
    assert (not validate(tmp_path, strict=False)) == valid
    assert valid or "sort differently" in validate(tmp_path, strict=False)[0]


def test_three_fields_in_utt2spk_are_a_defect(sound):
    write(sound, utt2spk="a-1 a\na-2 a x\nb-1 b\n")
    assert "utt2spk:2: expected `utterance speaker`, got 'a-2 a x'" in validate(sound)[0]


def test_fix_drops_speakers_that_spk2gender_lacks(tmp_path):
    write(tmp_path, utt2spk="a-1 a\na-2 a\nb-1 b\n", wav_scp="a-1 x\nb-1 x\n", spk2gender="a m\n")
    original = content(tmp_path)
    fixed = fix(tmp_path)
    assert (fixed.kept, fixed.total) == (1, 3)
    left = {"utt2spk": "a-1 a\n", "spk2utt": "a a-1\n", "wav.scp": "a-1 x\n", "spk2gender": "a m\n"}
    assert content(tmp_path) == left
    assert content(tmp_path / ".backup") == original
    assert fix(tmp_path).changed == [] and content(tmp_path / ".backup") == original


def test_fix_follows_every_file_but_vad_and_utt2uniq(tmp_path):
    write(
        tmp_path,
        utt2spk="a a\nb b\nc c\nd d\n",
        feats_scp="a f:1\nb f:2\nc f:3\n",
        utt2num_frames="a 5\nb 0\nc 7\n",
        vad_scp="a v:1\nz v:2\n",
        utt2kind="a noise\nb noise\n",
    )
    fix(tmp_path)
    assert content(tmp_path)["utt2spk"] == "a a\nc c\n"
    assert content(tmp_path)["vad.scp"] == "a v:1\n" and content(tmp_path)["utt2kind"] == "a noise\n"


def test_fix_that_would_leave_nothing_writes_nothing(tmp_path):
    write(tmp_path, utt2spk="a a\n", wav_scp="b b.wav\n")
    before = content(tmp_path)
    with pytest.raises(InputError, match="no utterance of 1 is in every file"):
        fix(tmp_path)
    assert content(tmp_path) == before and not (tmp_path / ".backup").exists()


def test_sound_directory_has_no_problem(sound):
    assert validate(sound) == [] and examine(sound, Rules()).remarks == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"utt2spk": "a-1 a\na-2 a\nb-1 b"}, "does not end in a line feed"),
        ({"utt2dur": "a-1 1\na-2 2\n"}, "utt2spk:3: key b-1 not in utt2dur"),
        ({"utt2dur": "a-1 1\na-2 99999\nb-1 1\n"}, "utt2dur:2: implausible duration"),
        ({"utt2dur": "a-1 1\na-2 -3\nb-1 1\n"}, "utt2dur:2: expected a key and seconds above 0"),
        ({"utt2num_frames": "a-1 1\na-2 2.5\nb-1 1\n"}, "utt2num_frames:2: expected a key and a positive integer"),
        ({"spk2gender": "a m\nb x\n"}, "spk2gender:2: expected `speaker m|f`"),
        ({"cmvn_scp": "a x:1\n"}, "spk2utt:2: speaker b not in cmvn.scp"),
        ({"vad_scp": "a-1 x:1\na-2 x:1\nb-2 x:1\n"}, "vad.scp:3: utterance b-2 not in utt2spk"),
        ({"wav_scp": "a-1 no.wav\na-2 no.wav\nb-1 no.wav\n"}, "wav.scp:1: no such file: no.wav"),
        ({"wav_scp": "a-1 ~/x.wav\na-2 x\nb-1 x\n"}, "wav.scp:1: a path cannot begin with ~"),
        ({"feats_scp": "a-1 no.ark:5\na-2 no.ark:9\nb-1 no.ark:11\n"}, "feats.scp:1: no such file: no.ark"),
        ({"feats_scp": "a-1 cat x |\na-2 x\nb-1 x\n"}, "feats.scp:1: piped commands for a-1"),
        ({"utt2dur": "a-1\t1\na-2 2\nb-1 3\n"}, "utt2dur:1: expected single spaces"),
        ({"utt2dur": "a-1 1\r\na-2 2\r\nb-1 3\r\n"}, "utt2dur:1: has CRLF"),
        ({"segments": "a-1 a-1 0 1\na-2 a-2 0 -1\nb-1 b-1 0 1\n"}, "segments:2: expected `utterance recording"),
        ({"spk2utt": ""}, "spk2utt: is empty"),
    ],
)
def test_defect_is_found(sound, files, message):
    write(sound, **files)
    problems = validate(sound)
    assert any(message in problem for problem in problems), problems


def test_missing_files_are_defects_only_where_they_are_needed(sound):
    assert any("feats.scp: no such file; run stage 2" in problem for problem in validate(sound, need_feats=True))
    assert any("text: no such file" in problem for problem in validate(sound, need_text=True))
    (sound / "wav.scp").unlink()
    assert any("wav.scp: no such file" in problem for problem in validate(sound))
    assert validate(sound, need_wav=False) == []


def test_pipes_are_a_defect_unless_allowed(sound):
    write(sound, wav_scp="a-1 sox a - |\na-2 sox a - |\nb-1 sox a - |\n")
    assert "piped commands for a-1, a-2, b-1" in validate(sound)[0]
    assert validate(sound, allow_pipes=True) == []


def test_ids_that_differ_by_case_only_are_a_defect(tmp_path):
    write(tmp_path, utt2spk="A-1 A\na-1 a\n", spk2utt="A A-1\na a-1\n")
    problems = validate(tmp_path, need_wav=False)
    assert len(problems) == 2 and "utt2spk:2: utterances A-1, a-1 differ by case only" in problems[0]
    assert validate(tmp_path, need_wav=False, strict=False) == []


def test_trials_must_name_utterances_or_models_of_the_set(sound):
    write(sound / "trials", eval="a-1 b-1 nontarget\na-1 c-9 target\n")
    assert "trials/eval: names utterances that utt2spk lacks: c-9" in validate(sound)[0]
    write(sound / "trials", **{"eval": "m b-1 target\nn b-1 target\n", "eval.enroll": "m a-1 a-3\n"})
    problems = validate(sound)
    assert "lacks: a-3" in problems[0] and "models that eval.enroll lacks: n" in problems[1]
    write(sound / "trials", **{"eval": "m b-1 target\n", "eval.enroll": "m a-1 a-2\n"})
    assert validate(sound) == []


def test_reserved_words_in_transcripts_are_a_defect_where_text_is_needed(sound):
    write(sound, text="a-1 one\na-2 <s> two\nb-1\n")
    assert "text:2: has a word that Kaldi reserves" in validate(sound, need_text=True)[0]
    assert validate(sound) == []


def test_single_speaker_is_remarked_but_valid(golden):
    report = examine(golden / "datadirs" / "x07_one_speaker", Rules(strict=False))
    assert report.problems == [] and "only one speaker" in report.remarks[0]


def test_shared_speakers_are_found_by_true_labels(tmp_path):
    train = write(tmp_path / "train", utt2spk="x-1 x-1\ny-1 y-1\n")
    test = write(tmp_path / "test", utt2spk="x-2 x\n")
    assert overlap(train, test) == []
    write(train / "ref", utt2spk="x-1 x\ny-1 y\n")
    assert f"shares speakers with {test}: x" in overlap(train, test)[0]
