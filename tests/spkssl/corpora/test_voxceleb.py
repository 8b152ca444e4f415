"""Preparing VoxCeleb: names, counts, what is decoded, what is left out, and the answer to every fault."""

import os
import shutil
import stat
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from spkssl import rng
from spkssl.audio import forecast
from spkssl.corpora.decode import decode_file
from spkssl.corpora.voxceleb import QUARANTINE, prepare
from spkssl.corpora.voxceleb_layout import LISTS, PUBLISHED, Utt, read_expected
from spkssl.corpora.voxceleb_trials import draw_trials
from spkssl.errors import InputError
from spkssl.io.tables import read_table
from spkssl.io.trials import read_trials
from spkssl.io.validate import overlap, validate

BROKEN = "voxceleb2/dev/aac/id00012/-ize_eiCFEg/00002.m4a"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def not_decoded(made) -> None:
    """Forget the decoded file of the recording that tests break."""
    name = Utt.of_path("id00012/-ize_eiCFEg/00002.m4a").opaque
    next(made.audio.rglob(f"{name}.flac")).unlink()


def test_published_counts_agree_with_one_another():
    count = PUBLISHED
    assert count["vox1-dev"].all + count["vox1-test"].all == count["vox1-all"].all == 153_516
    assert count["vox2-dev"].all + count["vox2-test"].all + count["vox1-dev"].all == 1_276_888
    assert count["vox2-dev"].groups + count["vox2-test"].groups + count["vox1-dev"].groups == 7_323
    nontargets = (18_860, 18_809, 290_737, 289_897, 276_266, 275_406)
    assert tuple(count[name].all - count[name].groups for name in LISTS) == nontargets


def test_a_trial_line_becomes_utterance_ids(tmp_path, config, corpora):
    (corpora / "lists/veri_test.txt").write_text("1 id10270/x6uYqmx31kE/00001.wav id10270/8jEAjG6SegY/00008.wav\n")
    what = "2 of the 2 recordings it names are not in VoxCeleb1: id10270-8jEAjG6SegY-00008"
    with pytest.raises(InputError, match=what):
        prepare(config(corpora, expected={}, trials=("vox1-o",)))


def test_names_are_taken_apart_by_position():
    utt = Utt.of_path("id10270/GWXujl-xAVM/00017.wav")
    assert utt.name == "id10270-GWXujl-xAVM-00017"
    assert len(utt.name.split("-")) == 4
    assert Utt.of_name(utt.name) == utt == ("id10270", "GWXujl-xAVM", "00017")


ids = st.builds(
    Utt,
    st.from_regex(r"\Aid[0-9]{5}\Z"),
    st.from_regex(r"\A[A-Za-z0-9_-]{11}\Z"),
    st.from_regex(r"\A[0-9]{5}\Z"),
)


@given(ids)
def test_every_name_comes_back(utt):
    assert Utt.of_name(utt.name) == utt == Utt.of_path("/".join(utt) + ".m4a")


@given(st.lists(ids, min_size=2, max_size=20, unique=True))
def test_names_sort_by_speaker(utts):
    by_name = sorted(utts, key=lambda utt: utt.name)
    assert [utt.speaker for utt in by_name] == sorted(utt.speaker for utt in utts)


@pytest.mark.parametrize("text", ["id1027/x6uYqmx31kE/00001.wav", "id10270/x6uYqmx31k/00001.wav", "id10270/a/1.wav"])
def test_another_name_is_refused(text):
    with pytest.raises(InputError, match="is no name of VoxCeleb"):
        Utt.of_path(text)


def test_sets_are_valid_apart_and_the_training_set_shows_no_speaker(config, corpora):
    made = config(corpora, fresh=True)
    before = content(corpora)
    assert prepare(made) == {"train": 24, "dev": 12, "test": 20}
    assert content(corpora) == before
    for name in ("train", "dev", "test"):
        assert validate(made.out / name) == []
    assert overlap(made.out / "train", made.out / "dev") == overlap(made.out / "train", made.out / "test") == []

    train = made.out / "train"
    assert all(utt == speaker for utt, speaker in read_table(train / "utt2spk").items())
    shown = "".join((train / name).read_text() for name in ("wav.scp", "utt2spk", "spk2utt", "utt2dur"))
    truth = read_table(train / "ref/utt2spk")
    assert truth.keys() == read_table(train / "utt2spk").keys() and len(set(truth.values())) == 4
    assert not any(speaker in shown for speaker in truth.values())
    runs = sum(a != b for a, b in pairwise(truth[utt] for utt in sorted(truth)))
    assert runs > 3, "sorted by id the speakers would lie in blocks"
    assert {Utt.of_name(name).speaker for name in read_table(train / "ref/utt2name").values()} == set(truth.values())


def test_durations_are_those_of_the_decoded_files(config, corpora):
    made = config(corpora)
    prepare(made)
    seconds = read_table(made.out / "train/utt2dur")
    for utt, path in read_table(made.out / "train/wav.scp").items():
        found = soundfile.info(path)
        assert (found.samplerate, found.channels, found.subtype) == (16000, 1, "PCM_16")
        assert float(seconds[utt]) == pytest.approx(found.frames / 16000, rel=1e-5)
        assert 1.15 < float(seconds[utt]) < 1.95


def test_preparing_twice_anew_and_with_other_processes_gives_the_same_bytes(config, corpora, tmp_path):
    made = config(corpora)
    prepare(made)
    first = content(made.out)
    shutil.rmtree(made.out)
    prepare(config(corpora, fresh=True, nj=1))
    assert content(made.out) == first


def test_decoded_files_are_kept_and_missing_ones_made_again(config, corpora):
    made = config(corpora)
    prepare(made)
    files = sorted((made.out / "audio/train").rglob("*.flac"))
    times = {path: path.stat().st_mtime_ns for path in files}
    first = content(made.out)
    files[0].unlink()
    prepare(made)
    assert content(made.out) == first
    assert [path for path in files if path.stat().st_mtime_ns != times[path]] == [files[0]]


def test_m4a_may_be_read_as_it_is(config, corpora):
    made = config(corpora, fresh=True, audio=None)
    prepare(made)
    assert all(path.endswith(".m4a") for path in read_table(made.out / "train/wav.scp").values())
    assert validate(made.out / "train") == [] and not (made.out / "audio").exists()


def test_reported_lists_are_kept_in_their_order(config, corpora):
    made = config(corpora)
    prepare(made)
    lines = (corpora / "lists/veri_test2.txt").read_text().splitlines()
    kept = (made.out / "test/trials/vox1-o-clean").read_text().splitlines()
    assert len(kept) == len(lines) == 58
    for line, got in zip(lines, kept, strict=True):
        label, enrol, test = line.split()
        word = "target" if label == "1" else "nontarget"
        assert got == f"{Utt.of_path(enrol).name} {Utt.of_path(test).name} {word}"


def test_vox1_o_alone_needs_no_development_part(config, corpora):
    shutil.rmtree(corpora / "voxceleb1/dev")
    made = config(corpora, trials=("vox1-o", "vox1-o-clean"))
    assert prepare(made)["test"] == 12
    with pytest.raises(InputError, match="voxceleb1/dev/wav: no such folder; unpack vox1_dev_wav.zip"):
        prepare(config(corpora))


def test_both_parts_of_voxceleb1_may_lie_in_one_folder(config, corpora):
    merged = corpora / "merged" / "wav"
    for part in ("dev", "test"):
        shutil.copytree(corpora / "voxceleb1" / part / "wav", merged, dirs_exist_ok=True)
    assert prepare(config(corpora, vox1=corpora / "merged"))["test"] == 20


def test_a_list_that_is_not_asked_for_any_more_goes(config, corpora):
    made = config(corpora)
    prepare(made)
    prepare(config(corpora, trials=("vox1-o",)))
    assert [path.name for path in (made.out / "test/trials").iterdir()] == ["vox1-o"]
    assert validate(made.out / "test") == []


# What is wrong with the corpora, and the answer.


def test_a_broken_m4a_stops_and_names_itself_or_is_left_out_when_asked(config, corpora):
    (corpora / BROKEN).write_bytes((corpora / BROKEN).read_bytes()[:500])
    not_decoded(config(corpora))
    what = r"train: 1 of 24 recordings cannot be used: .*00002.m4a: ffmpeg cannot.*--quarantine"
    with pytest.raises(InputError, match=what):
        prepare(config(corpora))
    said = []
    made = config(corpora, quarantine=True)
    assert prepare(made, said.append)["train"] == 23
    assert any("1 recordings left out" in line for line in said)
    (name,) = read_table(made.out / "train" / QUARANTINE)
    assert name == Utt.of_path("id00012/-ize_eiCFEg/00002.m4a").opaque
    for table in ("wav.scp", "utt2spk", "utt2dur", "ref/utt2spk", "ref/utt2name"):
        assert name not in read_table(made.out / "train" / table)
    assert validate(made.out / "train") == []


def test_a_mended_m4a_comes_back(config, corpora):
    whole = (corpora / BROKEN).read_bytes()
    (corpora / BROKEN).write_bytes(b"")
    made = config(corpora, quarantine=True)
    not_decoded(made)
    assert prepare(made)["train"] == 23
    (corpora / BROKEN).write_bytes(whole)
    assert prepare(made)["train"] == 24
    assert not (made.out / "train" / QUARANTINE).exists()


def test_an_empty_wav_of_a_reported_list_is_never_left_out(config, corpora):
    soundfile.write(corpora / "voxceleb1/test/wav/id10271/5r0dWxy17C8/00001.wav", np.zeros(0), 16000)
    with pytest.raises(InputError, match="test: no samples in .*id10271/5r0dWxy17C8/00001.wav; fetch"):
        prepare(config(corpora, quarantine=True))


def test_a_missing_list_says_where_it_was_looked_for(config, corpora):
    (corpora / "lists/veri_test2.txt").unlink()
    with pytest.raises(InputError, match="veri_test2.txt: no such file .the list vox1-o-clean.; fetch it"):
        prepare(config(corpora))


@pytest.mark.parametrize("folder", ["voxceleb1", "voxceleb2", "voxceleb2/dev/aac", "voxceleb1/test"])
def test_a_missing_folder_says_what_to_unpack(config, corpora, folder):
    shutil.rmtree(corpora / folder)
    with pytest.raises(InputError, match="no such folder; unpack vox._"):
        prepare(config(corpora))


def test_a_wrong_count_of_recordings_says_both_numbers(config, corpora):
    (corpora / BROKEN).unlink()
    what = "wrong count .got 23 utterances with 4 speakers, expected 24 utterances with 4 speakers.; .*--expect"
    with pytest.raises(InputError, match=what):
        prepare(config(corpora))
    assert prepare(config(corpora, expected={}))["train"] == 23


def test_a_list_cut_short_is_noticed(config, corpora):
    path = corpora / "lists/list_test_hard.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(InputError, match="list_test_hard.txt: wrong count .got 179 trials with .* expected 180 trials"):
        prepare(config(corpora))


def test_the_published_counts_are_expected_by_default(config, corpora):
    with pytest.raises(InputError, match="expected 37720 trials with 18860 targets"):
        prepare(config(corpora, expected=read_expected("published")))


def test_strange_files_are_named_and_hidden_ones_ignored(config, corpora):
    (corpora / "voxceleb2/dev/aac/.DS_Store").touch()
    (corpora / "voxceleb2/dev/aac/id00012/-ize_eiCFEg/._00001.m4a").touch()
    prepare(config(corpora))
    (corpora / "voxceleb2/dev/aac/id00012/-ize_eiCFEg/00001.wav").touch()
    with pytest.raises(InputError, match="none of the corpus: .*00001.wav .expected a segment 00000.m4a"):
        prepare(config(corpora))


def test_without_ffmpeg_nothing_begins(config, corpora, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(InputError, match="ffmpeg: is not installed, and m4a needs it; install it"):
        prepare(config(corpora, fresh=True))
    assert not (tmp_path / "data").exists()


def _ffmpeg(folder: Path, script: str, monkeypatch) -> None:
    """Put another ffmpeg before the real one."""
    program = folder / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_a_disk_that_fills_up_ends_the_call_instead_of_leaving_everything_out(config, corpora, monkeypatch, tmp_path):
    _ffmpeg(tmp_path, "echo '[error] av_interleaved_write_frame(): No space left on device' >&2; exit 1", monkeypatch)
    with pytest.raises(InputError, match="the disk is full; free some space"):
        prepare(config(corpora, fresh=True, quarantine=True))
    assert not list((tmp_path / "data").rglob("*.flac*"))


def test_a_disk_that_is_too_small_is_refused_after_the_first_files(config, corpora, monkeypatch):
    monkeypatch.setattr("spkssl.corpora.decode._MEASURED", 4)
    usage = shutil.disk_usage("/")._replace(free=10_000)
    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda path: usage)
    said = []
    with pytest.raises(InputError, match="the disk is too small .got 10 kB free, expected .* kB"):
        prepare(config(corpora, fresh=True), said.append)
    assert said and said[0].startswith("decoding train: about ")


def test_a_recording_that_decodes_short_is_no_success(corpora, monkeypatch, tmp_path):
    real = shutil.which("ffmpeg")
    # Claims what the container says and writes a fifth of a second.
    script = f'for last; do :; done\n"{real}" "$@" && "{real}" -v error -y -f lavfi -i anullsrc=r=16000:cl=mono -t 0.2 '
    script += '-c:a pcm_s16le -f wav "$last"'
    _ffmpeg(tmp_path, script, monkeypatch)
    with pytest.raises(InputError, match=r"00002.m4a: decodes to another length .got 0.20 s, expected 1"):
        decode_file(shutil.which("ffmpeg"), corpora / BROKEN, tmp_path / "out" / "a.wav")
    assert list((tmp_path / "out").iterdir()) == []


def test_expected_counts_that_name_no_part_are_refused(tmp_path):
    path = tmp_path / "counts.json"
    path.write_text('{"vox2-deb": [1, 2]}')
    with pytest.raises(InputError, match="vox2-dev"):
        read_expected(str(path))
    path.write_text("[1]")
    with pytest.raises(InputError, match="expected JSON like"):
        read_expected(str(path))


# Trials to choose by


@settings(max_examples=30)
@given(
    st.dictionaries(st.integers(1, 5), st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=2, max_size=5),
    st.integers(0, 3),
)
def test_development_trials_are_balanced_and_across_videos(speakers, seed):
    utts = [
        Utt(f"id{speaker:05d}", f"video{video:06d}", f"{segment:05d}")
        for speaker, videos in speakers.items()
        for video, segments in enumerate(videos)
        for segment in range(segments)
    ]
    if max(map(len, speakers.values())) < 2:
        with pytest.raises(InputError, match="no speaker has two videos"):
            draw_trials(utts, rng.numpy(seed, "t"), 5)
        return
    trials = draw_trials(utts, rng.numpy(seed, "t"), 5)
    assert trials.enrol_names == sorted(utt.name for utt in utts)
    enrol = [Utt.of_name(trials.enrol_names[row]) for row in trials.enrol]
    test = [Utt.of_name(trials.test_names[row]) for row in trials.test]
    assert len(set(zip(enrol, test, strict=True))) == len(trials)
    for a, b, target in zip(enrol, test, trials.target, strict=True):
        assert (a.speaker == b.speaker) == target
        assert not target or a.video != b.video
    of_target = [a.speaker for a, target in zip(enrol, trials.target, strict=True) if target]
    assert max(map(of_target.count, of_target)) <= 5
    assert (~trials.target).sum() <= trials.target.sum()
    again = draw_trials(utts[::-1], rng.numpy(seed, "t"), 5)
    assert (again.enrol == trials.enrol).all() and (again.test == trials.test).all()


def test_development_trials_never_name_a_reported_speaker(config, corpora):
    made = config(corpora)
    prepare(made)
    dev = read_trials(made.out / "dev/trials/dev")
    reported = {Utt.of_name(name).speaker for name in read_trials(made.out / "test/trials/vox1-e").enrol_names}
    assert {Utt.of_name(name).speaker for name in dev.enrol_names}.isdisjoint(reported)
    assert dev.target.sum() == 12 and (~dev.target).sum() == 12
