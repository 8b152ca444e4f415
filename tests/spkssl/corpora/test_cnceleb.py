"""CN-Celeb as distributed, tiny: what is made of it, and what is said when something is missing or wrong."""

import importlib.util
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spkssl.corpora.cnceleb import PUBLISHED, Cnceleb, Utt, prepare
from spkssl.errors import InputError
from spkssl.io.tables import read_lists, read_table
from spkssl.io.trials import read_trials
from spkssl.io.validate import overlap, validate

SCRIPT = Path(__file__).parents[2] / "cnceleb_corpora.py"


@pytest.fixture(scope="session")
def shared_cnceleb(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("cnceleb_corpora", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.make(tmp_path_factory.mktemp("corpora"))


@pytest.fixture
def cnceleb(shared_cnceleb, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(shared_cnceleb, tmp_path / "corpora")


def usual(root, out, **changed):
    first, second = root / "CN-Celeb_flac", root / "CN-Celeb2_flac"
    return replace(Cnceleb(first, second, out, out / "audio", published=False), **changed)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_published_counts_agree_with_one_another():
    counts = PUBLISHED["eval"]
    assert counts["enrolments"] * counts["test files"] == counts["trials"] == 17755 + 3466537
    assert counts["test files"] - counts["targets"] == 22  # of four speakers who are not enrolled
    assert PUBLISHED["dev.lst"]["speakers"] + PUBLISHED["spk.lst"]["speakers"] == 2793


@pytest.mark.parametrize("join", [0.0, 2.0])
def test_the_same_bytes_twice_and_from_any_number_of_threads(shared_cnceleb, tmp_path, join):
    out = tmp_path / "data"
    made = prepare(usual(shared_cnceleb, out, join=join, nj=1))
    assert made == {"train": 12 if join else 36, "test": 12 + 3 + 6}
    once = contents(out)
    prepare(usual(shared_cnceleb, out, join=join, nj=3))
    assert contents(out) == once
    shutil.rmtree(out)
    prepare(usual(shared_cnceleb, out, join=join, nj=3))
    assert contents(out) == once
    assert validate(out / "train") == validate(out / "test") == overlap(out / "train", out / "test") == []


def test_training_set_is_unlabelled_and_the_truth_lies_apart(shared_cnceleb, tmp_path):
    prepare(usual(shared_cnceleb, tmp_path))
    table = read_table(tmp_path / "train" / "utt2spk")
    assert all(utt == speaker for utt, speaker in table.items())
    assert all(len(utt) == 17 and utt[0] == "u" and int(utt[1:], 16) >= 0 for utt in table)
    ref = tmp_path / "train" / "ref"
    truth, names = read_table(ref / "utt2spk"), read_table(ref / "utt2name")
    assert truth.keys() == table.keys() == names.keys() and "id10000-live_broadcast-01-001" in names.values()
    assert all(names[utt].startswith(f"{speaker}-") for utt, speaker in truth.items())
    assert set(truth.values()) == {"id00000", "id00003", "id00007", "id10000", "id10001", "id11999"}
    assert set(read_table(ref / "utt2genre").values()) == {"live_broadcast", "singing"}
    assert set(read_table(ref / "utt2session").values()) >= {"id00000-singing-01", "id00000-singing-02"}
    in_order = [truth[utt] for utt in sorted(truth)]
    assert sum(a == b for a, b in zip(in_order, in_order[1:], strict=False)) < 18  # 30 of 35 if sorted by speaker


@pytest.mark.parametrize("join", [0.0, 2.0])
def test_no_table_beside_ref_names_a_speaker(shared_cnceleb, tmp_path, join):
    prepare(usual(shared_cnceleb, tmp_path, join=join))
    for path in (path for path in (tmp_path / "train").iterdir() if path.is_file()):
        keys = [line.split()[:1] if path.name == "wav.scp" else line.split() for line in path.read_text().splitlines()]
        assert keys and not any(re.search(r"id\d{5}", word) for words in keys for word in words), path
    if join:  # all utterances are joined here: their audio names nobody either
        assert "id00000" not in (tmp_path / "train" / "wav.scp").read_text().replace(str(shared_cnceleb), "")


def test_both_ways_of_enrolment_have_the_same_trials_under_their_own_names(shared_cnceleb, tmp_path):
    prepare(usual(shared_cnceleb, tmp_path))
    folder, wav = tmp_path / "test" / "trials", read_table(tmp_path / "test" / "wav.scp")
    average, joined = read_trials(folder / "cnceleb_average"), read_trials(folder / "cnceleb_concatenated")
    assert len(average) == 3 * 12 and average.target.sum() == 9
    assert [average.name(row) for row in range(36)] == [joined.name(row) for row in range(36)]
    models = read_lists(folder / "cnceleb_average.enroll")
    assert models["id00800-enroll"] == ["id00800-singing-01-001", "id00800-singing-01-002"]
    assert not (folder / "cnceleb_concatenated.enroll").exists()
    one = np.concatenate([soundfile.read(wav[utt])[0] for utt in models["id00800-enroll"]])
    assert np.array_equal(soundfile.read(wav["id00800-enroll"])[0], one)
    assert {*average.test_names, *sum(models.values(), []), *joined.enrol_names} == wav.keys()


def test_joined_utterances_are_of_one_speaker_and_genre(shared_cnceleb, tmp_path):
    prepare(usual(shared_cnceleb, tmp_path, join=2.0))
    seconds, names = (read_table(tmp_path / "train" / name) for name in ("utt2dur", "ref/utt2name"))
    utt = {name: utt for utt, name in names.items()}["id00000-singing-01-001-comb3"]
    assert seconds[utt] == "3.5" and min(map(float, seconds.values())) >= 2
    joined = soundfile.read(read_table(tmp_path / "train" / "wav.scp")[utt])[0]
    source = shared_cnceleb / "CN-Celeb_flac" / "data" / "id00000"
    parts = [soundfile.read(source / f"singing-{name}.flac")[0] for name in ("01-001", "01-002", "02-003")]
    assert np.array_equal(joined, np.concatenate(parts))


def test_another_choice_of_utterances_drops_what_was_made_of_the_first(shared_cnceleb, tmp_path):
    prepare(usual(shared_cnceleb, tmp_path, join=2.0))
    (tmp_path / "train" / "feats.scp").write_text("a b:1\n")
    prepare(usual(shared_cnceleb, tmp_path, join=2.0))
    assert (tmp_path / "train" / "feats.scp").exists()
    prepare(usual(shared_cnceleb, tmp_path))
    assert not (tmp_path / "train" / "feats.scp").exists() and not (tmp_path / "train" / "utt2dur").exists()


def test_the_first_release_in_wav_is_read_too(cnceleb, tmp_path):
    for path in sorted(cnceleb.glob("CN-Celeb*/**/*.flac")):
        soundfile.write(path.with_suffix(".wav"), *soundfile.read(path, dtype="int16"))
        path.unlink()
    assert prepare(usual(cnceleb, tmp_path)) == {"train": 36, "test": 21}


def test_a_genre_may_contain_an_underscore():
    utt = Utt.of("id00800", "live_broadcast-01-005", "here")
    assert utt == ("id00800", "live_broadcast", "01", "005") and utt.name == "id00800-live_broadcast-01-005"


FIRST, SECOND = "CN-Celeb_flac", "CN-Celeb2_flac"


@pytest.mark.parametrize(
    "missing",
    [
        f"{FIRST}/data/id00003",
        f"{FIRST}/dev/dev.lst",
        f"{FIRST}/eval/lists",
        f"{FIRST}/eval/lists/enroll.lst",
        f"{FIRST}/eval/lists/enroll.map",
        f"{FIRST}/eval/lists/test.lst",
        f"{FIRST}/eval/lists/trials.lst",
        f"{FIRST}/eval/enroll/id00801-enroll.flac",
        f"{FIRST}/eval/test/id00900-singing-03-002.flac",
        f"{FIRST}/data/id00999/singing-01-002.flac",  # of enroll.map
        f"{SECOND}",
        f"{SECOND}/spk.lst",
        f"{SECOND}/data/id11999",
    ],
)
def test_what_is_missing_is_named(cnceleb, tmp_path, missing):
    path = cnceleb / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError) as error:
        prepare(usual(cnceleb, tmp_path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("trials.lst", "id00800-singing-03-002.wav 1", "id00800-singing-03-002.wav 0", "trials.lst:2: the label of"),
        ("trials.lst", "id00800-enroll test", "id00802-enroll test", "trials.lst:1: id00802-enroll is not in enroll"),
        ("trials.lst", "test/id00801-sing", "test/id00801-song", "trials.lst:5: test/id00801-songing-03-002.wav is"),
        ("trials.lst", " 1\n", " yes\n", "trials.lst:1: yes is not in"),
        ("enroll.map", "id00801-enroll id00801/", "id00801-enroll id00800/", "utterances of another speaker"),
        ("enroll.map", "id00801-enroll", "id00802-enroll", "does not name the models of enroll.lst"),
        ("enroll.lst", "enroll/id00801", "enroll/id00800", "id00801-enroll has the file enroll/id00800-enroll.wav"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(cnceleb, tmp_path, name, old, new, message):
    path = cnceleb / FIRST / "eval" / "lists" / name
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError) as error:
        prepare(usual(cnceleb, tmp_path))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_name_that_is_none_of_the_corpus_is_refused(cnceleb, tmp_path):
    folder = cnceleb / SECOND / "data" / "id10000"
    (folder / "singing-01-001.flac").rename(folder / "singing_01.flac")
    with pytest.raises(InputError, match=r"singing_01.flac: expected a name <genre>-<session>-<utt>"):
        prepare(usual(cnceleb, tmp_path))


def test_training_speakers_must_not_be_tested(cnceleb, tmp_path):
    with open(cnceleb / FIRST / "dev" / "dev.lst", "a") as file:
        file.write("id00800\n")
    with pytest.raises(InputError, match="names speakers of eval: id00800"):
        prepare(usual(cnceleb, tmp_path))


def test_other_counts_than_the_published_ones_stop_unless_they_are_expected(shared_cnceleb, tmp_path):
    with pytest.raises(InputError, match="dev.lst: not what was published: 3 speakers instead of 797"):
        prepare(usual(shared_cnceleb, tmp_path, published=True))
    assert not (tmp_path / "train").exists()
