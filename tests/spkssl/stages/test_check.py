"""`spkssl check` refuses, before anything runs, what a later stage would not understand."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from spkssl.cli import cli
from spkssl.errors import InputError

YAML = "cluster: {algorithm: kmeans, num_clusters: 6}\nretrain: {method: {name: lgl}}\n"


@pytest.fixture
def check(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(YAML)

    def call(*options: str) -> str:
        done = CliRunner().invoke(cli, ["check", "--config", str(path), *options], standalone_mode=False)
        if done.exception:
            raise done.exception
        return done.output

    return call


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--cluster", "hdbscan"),  # the YAML's number does not apply, which stage 5 says
        ("--cluster", "ahc", "--num-clusters", "auto", "--backend", "cosine,snorm", "--input", "wave", "--seed", "3"),
        ("--set", "retrain.stop.rule=stability", "--set", "pretrain.method.name=moco"),
    ],
)
def test_nothing_is_said_where_all_is_well(check, options):
    assert check(*options) == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "score.bootstraps=3"), "unknown key score.bootstraps; did you mean score.bootstrap"),
        (("--set", "retrain.method.gate=gmms"), "retrain.method.*gmms"),
        (("--set", "retrain.rounds=abc"), "retrain.rounds: expected int, got 'abc'"),
        (("--cluster", "kmean"), "--cluster: unknown name 'kmean'"),
        (("--num-clusters", "abc"), "--num-clusters: expected a whole number or auto, got 'abc'"),
        (("--num-clusters", "1"), "num_clusters: expected auto or at least 2, got 1"),
        (("--cluster", "hdbscan", "--num-clusters", "5"), r"finds the number of clusters itself \(got 5\)"),
        (("--backend", "cosine,pldaa"), "--backend: unknown name 'pldaa'.* did you mean plda"),
        (("--set", "score.backends=[psda]"), "unknown name 'psda'"),
        (("--set", "retrain.stop.rule=never"), "retrain.stop.rule: unknown name 'never'"),
        (("--set", "retrain.stop.rule=acceptance", "--set", "retrain.method.gate=none"), "acceptance cannot judge"),
    ],
)
def test_what_a_late_stage_would_refuse_is_refused(check, options, message):
    with pytest.raises(InputError, match=message):
        check(*options)


def test_a_refusal_is_one_line_and_status_two(tmp_path):
    (tmp_path / "c.yaml").write_text(YAML)
    command = [sys.executable, "-m", "spkssl", "check", "--config", str(tmp_path / "c.yaml"), "--cluster", "no"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.startswith("spkssl: error: --cluster")
