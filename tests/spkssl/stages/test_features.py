import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from spkssl import rng
from spkssl.audio import extract, shards
from spkssl.audio.fbank import Fbank, FbankConfig
from spkssl.errors import InputError
from spkssl.io import ark
from spkssl.io.tables import read_lists, read_table, write_lists, write_table
from spkssl.stages.features import features

LENGTHS = [4000, 16000, 9999, 400, 7000, 12345, 8000]  # samples
UTTS = [f"id{i}-a" for i in range(len(LENGTHS))]


@pytest.fixture
def data(tmp_path):
    """A set of seven recordings, three speakers."""
    folder = tmp_path / "train"
    (tmp_path / "wav").mkdir()
    for utt, samples in zip(UTTS, LENGTHS, strict=True):
        wave = 0.1 * rng.numpy(0, utt).standard_normal(samples)
        soundfile.write(tmp_path / f"wav/{utt}.wav", wave, 16000)
    write_table(folder / "wav.scp", {utt: tmp_path / f"wav/{utt}.wav" for utt in UTTS})
    write_table(folder / "utt2spk", {utt: utt for utt in UTTS})
    write_lists(folder / "spk2utt", {utt: [utt] for utt in UTTS})
    return folder


@pytest.fixture
def processes():
    """Asked for by tests that want a process for each shard; starting one takes a second."""


@pytest.fixture(autouse=True)
def shards_in_this_process(request, monkeypatch):
    if "processes" not in request.fixturenames:
        one_by_one = lambda todo, bar: [shards.make_shard(shard, bar.update) for shard in todo]  # noqa: E731
        monkeypatch.setattr(shards, "_in_processes", one_by_one)


def _die_on_the_second(shard, count, end, parent):
    if shard.job == 2:
        time.sleep(2)  # the other shard needs less
        os.kill(os.getpid(), signal.SIGKILL)
    shards.make_shard(shard)


def call(data, *options):
    done = CliRunner().invoke(features, ["--data", str(data), *options], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.output


def content(data, table="feats.scp"):
    return {utt: ark.read(location) for utt, location in ark.read_scp(data / table).items()}


def files(data):
    """Everything below the set but markers and records, which tell times."""
    found = {path.relative_to(data): path for path in sorted(data.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if path.suffix != ".json"}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[utt], other[utt]) for utt in one)


def test_features_are_those_of_the_recordings(data):
    import torch

    assert "7 utterances, 347 frames" in call(data)
    for utt, got in content(data).items():
        wave, _ = soundfile.read(read_table(data / "wav.scp")[utt], dtype="float32")
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, Fbank()(torch.from_numpy(wave)).numpy())
    frames = {utt: 1 + (samples - 400) // 160 for utt, samples in zip(UTTS, LENGTHS, strict=True)}
    assert read_table(data / "utt2num_frames") == {utt: str(count) for utt, count in frames.items()}
    durations = {utt: float(seconds) for utt, seconds in read_table(data / "utt2dur").items()}
    assert durations == {utt: samples / 16000 for utt, samples in zip(UTTS, LENGTHS, strict=True)}
    assert list(read_table(data / "feats.scp")) == UTTS


def test_second_run_is_a_no_op_and_changes_are_noticed(data):
    call(data)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*") if path.is_file()}
    assert call(data, "--nj", "2", "--seed", "5") == f"features {data}: up to date\n"
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*") if path.is_file()} == before
    assert "changed" in call(data, "--set", "features.fbank.num_mel_bins=40")
    assert {x.shape[1] for x in content(data).values()} == {40}
    wav = read_table(data / "wav.scp")
    write_table(data / "wav.scp", {utt: wav[utt] for utt in UTTS[:3]})
    assert "wav.scp changed" in call(data)
    assert list(content(data)) == UTTS[:3]


def test_number_of_shards_does_not_matter(data):
    call(data)
    once = content(data)
    for nj in ("3", "20", "2"):
        call(data, "--force", "--nj", nj)
        assert same(content(data), once)
    left = {path.name for path in (data / "feats").iterdir()}
    assert left == {f"raw_fbank.{job}.{kind}" for job in (1, 2) for kind in ("ark", "scp", "json")}


def test_processes_make_what_one_process_makes(data, processes):
    call(data)
    once = content(data)
    call(data, "--force", "--nj", "3")
    assert same(content(data), once)


def test_a_process_that_dies_is_our_defect_and_loses_no_other_shard(data, processes, monkeypatch):
    plan = shards.plan(data, data / "feats", extract.FeaturesConfig(), 2)
    monkeypatch.setattr(shards, "_worker", _die_on_the_second)
    with pytest.raises(RuntimeError, match="shard 2 ended with -9"):
        shards.make_shards(plan)
    assert shards.unfinished(plan) == plan[1:]


def test_dither_depends_on_seed_and_utterance_only(data):
    dither = ("--set", "features.fbank.dither=1.0")
    call(data, *dither)
    once = content(data)
    call(data, *dither, "--nj", "2", "--force")
    assert same(content(data), once)
    assert "seed" in call(data, *dither, "--seed", "1")
    assert not same(content(data), once)


def test_jobs_one_by_one_merge_at_the_last(data):
    call(data)
    once = content(data)
    for job, left in [(3, 2), (1, 1)]:
        output = call(data, "--job", f"{job}/3", "--set", "features.channel=0")
        assert f"shard {job} of 3 is done, {left} to go" in output
        assert not (data / "feats.scp").exists()
    assert "7 utterances" in call(data, "--job", "2/3", "--set", "features.channel=0")
    assert same(content(data), once)
    assert "up to date" in call(data, "--nj", "3", "--set", "features.channel=0")
    for wrong in ("0/3", "4/3", "3", "a/b"):
        with pytest.raises(InputError, match="--job: expected I/N"):
            call(data, "--job", wrong)


def test_finished_shards_are_kept(data):
    for job in (1, 2):
        call(data, "--job", f"{job}/3")
    kept = {path: path.stat().st_mtime_ns for path in (data / "feats").glob("*.ark")}
    assert len(kept) == 2
    call(data, "--nj", "3")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_recording_that_changed_is_read_again(data):
    for job in (1, 2):
        call(data, "--job", f"{job}/3")
    path = read_table(data / "wav.scp")[UTTS[0]]
    soundfile.write(path, np.zeros(1000), 16000)
    call(data, "--nj", "3")
    np.testing.assert_allclose(content(data)[UTTS[0]], np.log(2**-23), atol=1e-5)


def test_a_damaged_shard_is_made_again(data):
    call(data, "--job", "1/2")
    archive = data / "feats/raw_fbank.1.ark"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-8])
    call(data, "--nj", "2")
    assert archive.read_bytes() == whole


def test_kill_and_the_same_command_again_ends_the_same(data, tmp_path):
    """A worker is killed without warning after its second utterance; another shard is finished by then."""
    call(data, "--nj", "2")
    want = files(data)
    for made in ("feats", ".done"):
        shutil.rmtree(data / made)
    for name in ("feats.scp", "utt2num_frames", "utt2dur"):
        (data / name).unlink()
    call(data, "--job", "1/2")
    program = (
        "import os, signal, sys; from pathlib import Path; from spkssl.audio import shards, extract\n"
        "plan = shards.plan(Path(sys.argv[1]), Path(sys.argv[1]) / 'feats', extract.FeaturesConfig(), 2)\n"
        "ticks = iter([None, lambda: os.kill(os.getpid(), signal.SIGKILL)])\n"
        "shards.make_shard(plan[1], lambda: (next(ticks) or int)())\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(data)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list((data / "feats").glob(".raw_fbank.2.ark.*.tmp"))
    assert not (data / "feats.scp").exists()
    call(data, "--nj", "2")
    assert files(data) == want


@pytest.mark.slow
def test_kill_of_the_command_at_any_time_then_again(data):
    call(data, "--nj", "2")
    want = files(data)
    command = [sys.executable, "-m", "spkssl", "features", "--data", str(data), "--nj", "2", "--force"]
    for wait in (1.5, 2.5, 3.5):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(wait)
        running.send_signal(signal.SIGKILL)
        running.wait()
        call(data, "--nj", "2")
        time.sleep(1)  # workers that outlived their parent have ended
        assert files(data) == want


def broken(data):
    """Two of the recordings cannot be used."""
    wav = read_table(data / "wav.scp")
    os.truncate(wav[UTTS[1]], 10000)
    soundfile.write(wav[UTTS[4]], np.zeros(399), 16000)
    return wav


@pytest.mark.parametrize("nj", ["1", "2"])
def test_unreadable_utterances_are_named(data, nj, processes):
    wav = broken(data)
    with pytest.raises(InputError) as error:
        call(data, "--nj", nj)
    assert str(error.value) == (
        f"{data}: 2 of 7 utterances have no features: "
        f"id1-a ({wav['id1-a']}: is cut off (got 9956 bytes of samples, expected 32000); fetch the file again), "
        f"id4-a ({wav['id4-a']}: too short for one frame (got 399 samples); remove it from the set); "
        "mend them, or go on without them by --quarantine"
    )
    assert not (data / "feats.scp").exists()


def test_quarantine_takes_them_out_of_the_set(data):
    original = (data / "wav.scp").read_bytes()
    broken(data)
    assert "2 utterances taken out" in call(data, "--quarantine", "--nj", "2")
    kept = [utt for utt in UTTS if utt not in ("id1-a", "id4-a")]
    for name in ("feats.scp", "utt2num_frames", "utt2dur", "wav.scp", "utt2spk"):
        assert list(read_table(data / name)) == kept
    assert list(read_lists(data / "spk2utt")) == kept
    named = read_table(data / "quarantine.features")
    assert list(named) == ["id1-a", "id4-a"]
    assert "too short" in named["id4-a"]
    assert (data / ".backup/wav.scp").read_bytes() == original
    mark = json.loads((data / ".done/features.json").read_text())
    assert mark["quarantined"] == 2 and mark["cpu_seconds"] >= 0 and mark["peak_mb"] > 0
    assert "up to date" in call(data, "--quarantine", "--nj", "2")
    assert list(read_table(data / "quarantine.features")) == ["id1-a", "id4-a"]


def test_a_mended_recording_comes_back_by_itself(data):
    wav = broken(data)
    with pytest.raises(InputError, match="2 of 7"):
        call(data)
    for utt in ("id1-a", "id4-a"):
        soundfile.write(wav[utt], np.zeros(1000), 16000)
    call(data)
    assert list(content(data)) == UTTS


def test_missing_recordings_are_found_before_work_begins(data):
    wav = read_table(data / "wav.scp")
    write_table(data / "wav.scp", {**wav, "id9-a": "nowhere.wav"})
    with pytest.raises(InputError, match="wav.scp: 1 recordings do not exist: nowhere.wav"):
        call(data)
    assert not (data / "feats").exists()
    call(data, "--quarantine")
    assert list(content(data)) == UTTS


def test_a_set_without_any_good_recording_is_an_error(data):
    write_table(data / "wav.scp", {"id9-a": "nowhere.wav"})
    with pytest.raises(InputError, match="1 of 1 utterances have no features"):
        call(data, "--quarantine")


def test_vad_goes_with_the_frames(data):
    call(data, "--vad", "--nj", "2")
    marks = content(data, "vad.scp")
    assert {utt: len(mark) for utt, mark in marks.items()} == {utt: len(x) for utt, x in content(data).items()}
    assert set(np.concatenate(list(marks.values()))) <= {0.0, 1.0}


def test_kaldi_compression_is_close_and_small(data):
    call(data)
    exact, size = content(data), (data / "feats/raw_fbank.1.ark").stat().st_size
    call(data, "--compress", "kaldi")
    assert (data / "feats/raw_fbank.1.ark").stat().st_size < size / 3
    for utt, got in content(data).items():
        np.testing.assert_allclose(got, exact[utt], atol=0.25)


def test_segments_are_parts_of_recordings(data):
    whole = (call(data), content(data))[1]
    write_table(data / "segments", {"id1-b": "id1-a 0 0.5", "id1-c": "id1-a 0.4 1.3"})
    call(data)
    got = content(data)
    np.testing.assert_allclose(got["id1-b"], whole["id1-a"][:48], atol=1e-5)
    np.testing.assert_allclose(got["id1-c"], whole["id1-a"][40:], atol=1e-5)
    assert read_table(data / "utt2dur") == {"id1-b": "0.5", "id1-c": "0.6"}
    write_table(data / "segments", {"id1-b": "id1-a 0 0.5", "id2-c": "id2-a 0.4 1.3"})
    with pytest.raises(InputError, match="1 of 2 utterances have no features: id2-c .*ends early"):
        call(data)
    call(data, "--quarantine")
    assert list(read_table(data / "segments")) == ["id1-b"]
    assert "id2-a" not in read_table(data / "wav.scp")


def test_malformed_segments_and_pipes_are_errors(data):
    for line in ("id1-a 1 0.5", "id1-a 0", "nobody 0 1", "id1-a x 1"):
        write_table(data / "segments", {"u": line})
        with pytest.raises(InputError, match="segments: u"):
            call(data)
    (data / "segments").unlink()
    write_table(data / "wav.scp", {"u": "sox a.wav -t wav - |"})
    with pytest.raises(InputError, match="wav.scp: u is a command"):
        call(data)


def test_noises_without_speakers_are_a_set_too(data):
    for name in ("utt2spk", "spk2utt"):
        (data / name).unlink()
    write_table(data / "utt2kind", dict.fromkeys(UTTS, "noise"))
    broken(data)
    call(data, "--quarantine")
    assert list(read_table(data / "utt2kind")) == list(content(data))
    assert len(content(data)) == 5


def test_two_sets_cannot_share_a_folder_of_archives(data, tmp_path):
    call(data, "--out", str(tmp_path / "feats"))
    write_table(tmp_path / "test/wav.scp", read_table(data / "wav.scp"))
    with pytest.raises(InputError, match="holds the archives of .*/train; choose another folder by --out"):
        call(tmp_path / "test", "--out", str(tmp_path / "feats"))
    assert len(content(data)) == 7


def test_unknown_settings_stop_with_the_nearest(data):
    with pytest.raises(InputError, match="did you mean fbank.num_mel_bins"):
        call(data, "--set", "features.fbank.num_mel_bin=40")


def test_dry_run_writes_nothing(data):
    before = files(data)
    assert "would run (not done yet)" in call(data, "--dry-run")
    assert "would run" in call(data, "--dry-run", "--job", "1/2")
    assert files(data) == before


def test_other_features_are_chosen_by_the_yaml(data, tmp_path):
    (tmp_path / "system.yaml").write_text("features: {fbank: {num_mel_bins: 24, snip_edges: false}}\n")
    call(data, "--config", str(tmp_path / "system.yaml"))
    assert content(data)["id3-a"].shape == (FbankConfig(snip_edges=False).num_frames(400), 24)
