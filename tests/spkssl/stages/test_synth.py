from dataclasses import asdict

import pytest
from click.testing import CliRunner

from spkssl.audio.synth.plan import Sizes
from spkssl.io.tables import read_table
from spkssl.stages.synth import synth

_SETS = [f"--{name}-{what}=2" for name in ("train", "dev", "test") for what in ("speakers", "utts")]
_TINY = [*_SETS, "--noises=1", "--rirs=1"]


def _call(out, *options: str):
    return CliRunner().invoke(synth, ["--out", str(out), *_TINY, *options], catch_exceptions=False)


def test_second_call_is_up_to_date(tmp_path):
    first = _call(tmp_path)
    assert first.exit_code == 0 and "train: 4, dev: 4, test: 4, noise: 6, rir: 1" in first.output
    assert len(read_table(tmp_path / "train" / "wav.scp")) == 4
    assert _call(tmp_path).output == f"synth {tmp_path}: up to date\n"
    assert "would run (train_utts (2 -> 3) changed)" in _call(tmp_path, "--train-utts", "3", "--dry-run").output


def test_hard_corpus_has_five_sessions(tmp_path):
    assert _call(tmp_path, "--hard", "--test-utts", "5").exit_code == 0
    assert {s.split("-")[1] for s in read_table(tmp_path / "test" / "ref" / "utt2session").values()} == set("12345")


@pytest.mark.parametrize("name", asdict(Sizes()))
def test_defaults_on_the_command_line_are_those_of_the_library(name):
    option = next(p for p in synth.params if p.name == name)
    assert option.default == getattr(Sizes(), name)


def test_sets_without_trials_are_refused(tmp_path):
    assert CliRunner().invoke(synth, ["--out", str(tmp_path), "--test-speakers", "1"]).exit_code == 2
