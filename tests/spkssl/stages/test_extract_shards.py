"""Extraction in shards: the same bytes for any number, and a shard that dies is named and alone made again."""

import os
import signal

import numpy as np
import pytest
from click.testing import CliRunner

from spkssl import rng
from spkssl.audio import forecast
from spkssl.data import embed_shards
from spkssl.errors import InputError
from spkssl.io.ark import write_ark
from spkssl.io.tables import read_table, write_table
from spkssl.nn.ecapa import EcapaConfig
from spkssl.nn.embedder import make_embedder, save_embedder
from spkssl.nn.frontend import FrontendConfig
from spkssl.stages import extract as stage
from spkssl.stages.extract import extract

FRAMES = (40, 25, 40, 33, 40, 25, 60, 61)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "dev"
    mels = {f"u{i}": rng.numpy(0, "mel", i).normal(size=(n, 80)).astype(np.float32) for i, n in enumerate(FRAMES)}
    write_ark(folder / "feats.ark", folder / "feats.scp", mels)
    write_table(folder / "utt2num_frames", {name: len(value) for name, value in mels.items()})
    return folder.parent


@pytest.fixture
def call(data, tmp_path):
    """Extract into an exp folder of this name with one and the same encoder."""
    rng.seed_torch(0, "test")
    model = make_embedder(EcapaConfig(channels=16, embed_dim=8, se_channels=4, attention_channels=4), FrontendConfig())

    def run(exp: str, *options: str) -> str:
        folder = tmp_path / exp / "pretrain"
        if not folder.exists():
            folder.mkdir(parents=True)
            save_embedder(folder / "encoder.pt", model)
        places = ["--exp", str(tmp_path / exp), "--data", str(data), "--sets", "dev"]
        return CliRunner().invoke(extract, [*places, *options], catch_exceptions=False).output

    return run


def result(tmp_path, exp):
    return (tmp_path / exp / "pretrain/emb/dev/xvector.ark").read_bytes()


def test_jobs_give_the_bytes_that_one_process_gives(call, tmp_path):
    call("whole")
    said = [call("jobs", "--job", f"{job}/3") for job in (2, 1, 3)]
    assert result(tmp_path, "jobs") == result(tmp_path, "whole")
    assert "shard 2 of 3 is done, 2 to go" in said[0] and "0 to go" in said[2] and "done in" in said[2]
    assert "up to date" in call("jobs", "--job", "2/3") and "up to date" in call("jobs")


@pytest.mark.slow
def test_processes_give_the_bytes_that_one_process_gives(call, tmp_path):
    call("whole"), call("four", "--nj", "4")
    assert result(tmp_path, "four") == result(tmp_path, "whole")
    assert sorted(path.name for path in (tmp_path / "four/pretrain/emb/dev").iterdir()) == [
        "xvector.ark",
        "xvector.scp",
    ]


def test_more_jobs_than_batches_leave_some_with_nothing(call, tmp_path):
    call("whole")
    for job in range(1, 12):
        call("many", "--job", f"{job}/11")
    assert result(tmp_path, "many") == result(tmp_path, "whole")


def test_a_finished_shard_is_kept_and_a_stale_one_made_again(call, data, tmp_path):
    call("exp", "--job", "1/2")
    first = tmp_path / "exp/pretrain/emb/dev/split2/xvector.1.ark"
    when = first.stat().st_mtime_ns
    call("exp", "--job", "1/2")
    assert first.stat().st_mtime_ns == when
    (data / "dev/utt2num_frames").touch()
    feats = read_table(data / "dev/feats.scp")
    del feats["u3"]
    write_table(data / "dev/feats.scp", feats)
    said = call("exp", "--job", "2/2")
    assert "1 to go" in said, "the shard of the set as it was does not count"
    call("exp", "--job", "1/2")
    assert sorted(read_table(tmp_path / "exp/pretrain/emb/dev/xvector.scp")) == sorted(feats)


def test_merging_without_a_shard_names_it(tmp_path):
    shards = embed_shards.plan([[], [], []], tmp_path / "xvector.scp", 3, "s")
    with pytest.raises(InputError, match="shards not finished: 1, 2, 3 of 3; run their jobs again"):
        embed_shards.merge(shards, tmp_path / "xvector.scp")


def _die_as_the_second(piece, jobs, number, end, parent):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    stage._make(piece, jobs, number, lambda: None)


@pytest.mark.slow
def test_a_dead_shard_is_named_and_only_it_runs_again(call, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(stage, "_worker", _die_as_the_second)
        with pytest.raises(InputError, match=r"shards of 2 that died: 2 \(exit status -9\); .* only these again"):
            call("exp", "--nj", "2")
    first = tmp_path / "exp/pretrain/emb/dev/split2/xvector.1.ark"
    when = first.stat().st_mtime_ns
    monkeypatch.setattr(stage, "_in_processes", lambda *_: pytest.fail("one shard is left: no process is needed"))
    monkeypatch.setattr(embed_shards, "sweep", lambda scp: None)
    call("exp", "--nj", "2"), call("whole")
    assert first.stat().st_mtime_ns == when
    assert result(tmp_path, "exp") == result(tmp_path, "whole")


@pytest.mark.parametrize("options", [(), ("--job", "1/1")])
def test_long_extraction_says_once_how_long_it_takes(call, monkeypatch, options):
    monkeypatch.setattr(forecast, "_FIRST", 0.0)
    monkeypatch.setattr(forecast, "_LONG", 0.0)
    assert call("exp", *options).count("extract pretrain dev: about ") == 1


def test_short_extraction_says_nothing_of_its_time(call):
    assert "about" not in call("exp")


def test_a_job_number_out_of_range_is_refused(call):
    with pytest.raises(InputError, match="--job: expected I/N with 1 <= I <= N, got '3/2'"):
        call("exp", "--job", "3/2")
