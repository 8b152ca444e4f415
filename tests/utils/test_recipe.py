"""What all recipes share, by a recipe of a few lines and a Python that only notes how it is called."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD = f""". {ROOT}/utils/recipe.sh
# options
stage=1       # first
stop_stage=8  # last
dry_run=false # flag
system=any    # which
rounds=1      # how many
ngpu=0        # GPUs
"""
MACHINES = """nodes=1       # machines
node_rank=0   # which
master=""     # where
"""


@pytest.fixture
def run(tmp_path):
    """Runs these lines behind the options; gives what happened, and the calls of Python."""
    python, calls = tmp_path / "python", tmp_path / "calls"
    python.write_text(f'#!/bin/sh\necho "$*" >>{calls}\ncase $* in *stop.rule*) echo fixed ;; esac\n')
    python.chmod(0o755)

    def call(lines: str, *options: str, head: str = HEAD, **env: str) -> tuple[subprocess.CompletedProcess, list[str]]:
        calls.write_text("")
        (tmp_path / "run.sh").write_text(f'{head}# end of options\nparse_options "$@"\n{lines}\n')
        env = {**os.environ, "SPKSSL_PYTHON": str(python), **env}
        command = ["bash", str(tmp_path / "run.sh"), *options]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        return done, [line for line in calls.read_text().splitlines() if "spkssl doctor" not in line]

    return call


def test_variables_of_the_environment_are_no_options(run):
    done, calls = run("train pretrain", nodes="abc", node_rank="7", master="none")
    assert done.returncode == 0 and calls == ["-m spkssl pretrain"], done.stderr


@pytest.mark.parametrize("option", ["--rounds", "--ngpu"])
def test_words_for_numbers_are_refused_before_anything_runs(run, option):
    done, calls = run("train pretrain", option, "abc")
    assert done.returncode == 2 and f"{option} takes a number (got 'abc')" in done.stderr and not calls


def test_who_waits_for_the_first_machine_says_so_every_minute(run):
    # 30 s pass with each sleep; the first machine comes after five of them, and has ended at the next look.
    pretend = """slept=0
sleep() { slept=$((slept + 1)); SECONDS=$((SECONDS + 30)); }
reached() { ((slept == 5)) && slept=6; }
train pretrain"""
    where = ("--nodes", "2", "--node-rank", "1", "--master", "first:29500")
    done, calls = run(pretend, *where, head=HEAD + MACHINES)
    assert done.returncode == 0, done.stderr
    said = [line.split(" ", 1)[1] for line in done.stdout.splitlines()]
    still = "pretrain: still waiting for first:29500, for {} min; is the same command running there?"
    assert said == ["pretrain: waiting for the first machine, first:29500", still.format(1), still.format(2)]
    assert calls[0].startswith("-m spkssl setting retrain.stop.rule") and "--node-rank 1" in calls[1]


@pytest.mark.parametrize("more", [(), ("--cluster", "ahc")])
def test_labels_come_first_only_where_stage_5_is_not_in_the_same_call(run, more):
    lines = f"common=(--exp e)\nclustering=({' '.join(more)})\ncluster_first"
    made = " ".join(["-m spkssl cluster --exp e --at pretrain --keep", *more])
    assert run(lines, "--stage", "6")[1] == ["-m spkssl rounds --exp e --max 1 --done 0", made]
    assert run(lines, "--stage", "5")[1] == ["-m spkssl rounds --exp e --max 1 --done 0"]
