"""Before long feature work: an estimate from its first utterances, and a refusal where the disk is too small."""

import shutil

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from spkssl.audio import forecast, shards
from spkssl.audio.extract import FeaturesConfig
from spkssl.errors import InputError
from spkssl.io.tables import write_table
from spkssl.stages.features import features

FRAMES, MELS, UTTS = 98, 80, 10


@pytest.fixture
def data(tmp_path):
    sound = 0.1 * np.random.default_rng(0).standard_normal(16000)
    soundfile.write(tmp_path / "a.wav", sound, 16000)
    write_table(tmp_path / "data/wav.scp", {f"u{i}": tmp_path / "a.wav" for i in range(UTTS)})
    return tmp_path / "data"


def plan(data, jobs=1, **config):
    return shards.plan(data, data / "feats", FeaturesConfig(**config), jobs)


def test_short_work_is_not_estimated(data):
    assert shards.forecast(plan(data)) is None


def test_disk_is_told_from_the_first_utterances(data, monkeypatch):
    monkeypatch.setattr(shards, "_LONG", UTTS)
    whole = shards.forecast(plan(data))
    assert whole.bytes == UTTS * FRAMES * MELS * 4 and whole.seconds > 0
    assert shards.forecast(plan(data, compress="kaldi")).bytes == UTTS * FRAMES * MELS
    assert shards.forecast(plan(data, jobs=5)).bytes == whole.bytes


def test_unreadable_utterances_do_not_spoil_the_estimate(data, monkeypatch, tmp_path):
    monkeypatch.setattr(shards, "_LONG", UTTS)
    (tmp_path / "b.wav").write_bytes(b"")
    write_table(data / "wav.scp", {f"u{i}": tmp_path / ("b.wav" if i == 0 else "a.wav") for i in range(UTTS)})
    assert shards.forecast(plan(data)).bytes == UTTS * FRAMES * MELS * 4


def test_stage_says_what_it_takes_and_refuses_a_small_disk(data, monkeypatch):
    monkeypatch.setattr(shards, "_LONG", UTTS)
    done = CliRunner().invoke(features, ["--data", str(data)], catch_exceptions=False)
    assert f"features {data}: about 0 s and 314 kB of disk" in done.output
    usage = shutil.disk_usage("/")._replace(free=100_000)
    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda path: usage)
    what = (
        r"the disk is too small \(got 100 kB free, expected 314 kB\); choose another disk by --out, or --compress kaldi"
    )
    with pytest.raises(InputError, match=what):
        CliRunner().invoke(features, ["--data", str(data), "--force"], catch_exceptions=False)
