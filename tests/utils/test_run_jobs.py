"""utils/run_jobs.sh: numbers, logs, failures by name, tries, and the way to a cluster."""

import os
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "utils" / "run_jobs.sh"


@pytest.fixture
def run(tmp_path):
    """Run a bash command as jobs; it sees `--job I/N` as $1 and $2."""

    def call(command: str, *options: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        where = ["--log", str(tmp_path / "log" / "work"), *options]
        return subprocess.run(
            ["bash", str(SCRIPT), *where, "--", "bash", "-c", command, "job"],
            capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **(env or {})}, timeout=60,
        )  # fmt: skip

    return call


def log(tmp_path: Path, number: int) -> list[str]:
    return (tmp_path / "log" / f"work.{number}.log").read_text().splitlines()


def test_every_job_learns_its_number_and_has_a_log(run, tmp_path):
    done = run('echo "$1 $2"', "--nj", "3")
    assert (done.returncode, done.stderr) == (0, "")
    for number in (1, 2, 3):
        lines = log(tmp_path, number)
        assert lines[0].startswith("# bash -c ") and lines[0].endswith(f"--job {number}/3")
        assert lines[1].startswith("# started ") and lines[2] == f"--job {number}/3"
        assert lines[3].startswith("# ended with status 0 after ")


def test_a_failed_job_is_named_with_its_log_and_its_last_words(run, tmp_path):
    done = run('if [[ $2 == 2/3 ]]; then echo "it burns"; exit 7; fi', "--nj", "3")
    assert done.returncode == 1
    assert f"job 2 of 3 failed: {tmp_path}/log/work.2.log" in done.stderr and "it burns" in done.stderr
    assert "1 of 3 jobs failed (2)" in done.stderr
    assert log(tmp_path, 2)[-1].startswith("# ended with status 7")


def test_a_killed_job_counts_as_failed(run):
    done = run("if [[ $2 == 1/2 ]]; then kill -9 $$; fi", "--nj", "2")
    assert done.returncode == 1 and "1 of 2 jobs failed (1)" in done.stderr


def test_only_failed_jobs_are_tried_again(run, tmp_path):
    done = run('echo "$2" >>ran; [[ $2 != 2/3 || $(grep -c 2/3 ran) -gt 1 ]]', "--nj", "3", "--tries", "2")
    assert done.returncode == 0 and "job 2 of 3 failed" in done.stderr
    assert sorted((tmp_path / "ran").read_text().split()) == ["1/3", "2/3", "2/3", "3/3"]


def test_so_many_run_at_once_and_no_more(run, tmp_path):
    command = "echo + >>ran; sleep 0.3; echo - >>ran"
    started = time.monotonic()
    assert run(command, "--nj", "4", "--at-once", "2").returncode == 0
    assert time.monotonic() - started > 0.55
    most = now = 0
    for line in (tmp_path / "ran").read_text().split():
        now += 1 if line == "+" else -1
        most = max(most, now)
    assert most == 2


def test_on_slurm_each_job_goes_through_srun(run, tmp_path):
    program = tmp_path / "bin" / "srun"
    program.parent.mkdir()
    program.write_text('#!/bin/bash\necho "srun $*" >>calls\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n')
    program.chmod(0o755)
    path = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = run('echo "$2"', "--nj", "2", "--on", "slurm", "--options", "--gpus=1 --mem=8G", env=path)
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 2 and all("--ntasks=1 --job-name=work --gpus=1 --mem=8G bash -c" in call for call in calls)
    assert log(tmp_path, 2)[2] == "2/2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nj", "none"], "take numbers from 1 on (got none)"),
        (["--nj", "0"], "take numbers from 1 on (got 0)"),
        (["--nj"], "unknown option bash"),
        (["--on", "mars"], "--on takes local or slurm (got mars)"),
        (["--jobs", "3"], "unknown option --jobs"),
    ],
)
def test_a_wrong_option_stops_with_one_line(run, options, message):
    done = run("true", *options)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_words_with_blanks_stay_whole(run, tmp_path):
    done = subprocess.run(
        ["bash", str(SCRIPT), "--log", str(tmp_path / "a"), "--", "printf", "<%s>\n", "two  words", "$(touch trap)"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0
    assert (tmp_path / "a.1.log").read_text().splitlines()[2:4] == ["<two  words>", "<$(touch trap)>"]
    assert not (tmp_path / "trap").exists()
