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
    for system in ("any", "one_gpu/big"):
        (tmp_path / f"conf/{system}.yaml").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"conf/{system}.yaml").touch()

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


CHOICES = """seed=0        # seed
cluster=""    # clustering
backend=""    # back-ends
input=""      # feats or wave
"""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--system", "dno"), "--system dno: no such file in {conf} (there are: any one_gpu/big)"),
        (("--stage", "0"), "--stage and --stop-stage take numbers from 1 to 8 (got '0' and '8')"),
        (("--stop-stage", "9"), "--stage and --stop-stage take numbers from 1 to 8 (got '1' and '9')"),
        (("--stage", "5", "--stop-stage", "3"), "--stop-stage 3 comes before --stage 5"),
    ],
)
def test_what_no_recipe_has_is_refused_before_anything_is_installed(run, tmp_path, options, message):
    nothing = str(tmp_path / "no-python")  # setup.sh would complain of it
    done, calls = run("train pretrain", *options, SPKSSL_PYTHON=nothing)
    assert done.returncode == 2 and done.stderr == f"run.sh: {message.format(conf=tmp_path / 'conf')}\n" and not calls


def test_a_system_may_lie_in_a_folder_below_conf(run):
    assert run("train pretrain", "--system", "one_gpu/big")[1] == ["-m spkssl pretrain"]


def test_settings_and_choices_of_all_stages_are_checked_on_the_first_machine_alone(run, tmp_path):
    lines = "clustering=(${cluster:+--cluster \"$cluster\"})\ncheck_settings"
    head = HEAD + CHOICES + MACHINES
    choices = ("--cluster", "ahc", "--backend", "plda", "--input", "wave", "--set", "a.b=c d")
    asked = "--set a.b=c d --cluster ahc --input wave --backend plda"
    check = f"-m spkssl check --config {tmp_path}/conf/any.yaml --seed 0"
    assert run(lines, *choices, head=head)[1] == [f"{check} {asked}"]
    assert run(lines, head=head)[1] == [check]
    where = ("--nodes", "2", "--node-rank", "1", "--master", "first:29500", "--stage", "7")
    assert run(lines, *where, head=head)[1] == []


@pytest.mark.parametrize(("status", "end"), [(2, ""), (1, "; the same command goes on from there")])
@pytest.mark.parametrize("failing", ["spkssl extract", "n=$(spkssl extract)"])
def test_after_a_users_error_nobody_is_told_to_give_the_same_command(run, tmp_path, failing, status, end):
    (tmp_path / "failing").write_text(f"#!/bin/sh\nexit {status}\n")
    (tmp_path / "failing").chmod(0o755)
    done, _ = run(f"python={tmp_path}/failing\nif stage 4 extract; then {failing}; fi")
    assert done.returncode == status
    assert done.stderr == f"run.sh: failed in stage 4 (extract) (exit status {status}){end}\n"


def test_a_dry_run_without_an_environment_makes_none(tmp_path):
    for name in ("utils", "tools", "conf"):
        (tmp_path / name).mkdir()
    (tmp_path / "conf/any.yaml").touch()
    (tmp_path / "tools/setup.sh").write_text(f"mkdir {tmp_path}/.venv; exit 2\n")
    (tmp_path / "utils/recipe.sh").write_text((ROOT / "utils/recipe.sh").read_text())
    script = HEAD.replace(str(ROOT), str(tmp_path)) + '# end of options\nparse_options "$@"\ntrain pretrain\n'
    (tmp_path / "run.sh").write_text(script)
    env = {name: value for name, value in os.environ.items() if name != "SPKSSL_PYTHON"}

    def run(*options: str) -> subprocess.CompletedProcess:
        command = ["bash", str(tmp_path / "run.sh"), *options]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)

    done = run("--dry-run")
    said = "dry run: would first make .venv (tools/setup.sh)\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "") and not (tmp_path / ".venv").exists()
    done = run()
    assert done.returncode == 2 and done.stderr == "run.sh: failed in set-up (exit status 2)\n"
    assert (tmp_path / ".venv").exists()
