"""The command: instant help, one line and status 2 for the user's errors."""

import subprocess
import sys

import pytest

from spkssl.stages import COMMANDS, STAGES


def spkssl(*options: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "spkssl", *options], capture_output=True, text=True, timeout=120)


def test_help_lists_every_command_with_its_stage_number():
    printed = spkssl("--help").stdout
    for name, command in COMMANDS.items():
        assert f"{name} " in printed and (command.number is None or f"{command.number}  " in printed)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name in STAGES])
def test_every_stage_says_its_number_in_its_help(name):
    done = spkssl(name, "--help")
    assert done.returncode == 0 and f"Stage {STAGES[name].number}" in done.stdout


def test_users_errors_are_one_line_and_status_two(tmp_path):
    done = spkssl("extract", "--exp", str(tmp_path / "exp"), "--data", str(tmp_path))
    assert done.returncode == 2 and done.stderr.startswith("spkssl: error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("options", [("nosuch",), ("extract",), ("extract", "--nosuch")])
def test_misuse_is_status_two_without_a_traceback(options):
    done = spkssl(*options)
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_doctor_finds_this_installation_well():
    done = spkssl("doctor")
    assert done.returncode == 0, done.stdout
    assert "torch" in done.stdout and "WRONG" not in done.stdout
    assert spkssl("doctor", "--quiet").stdout == ""
