import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from spkssl.errors import InputError
from spkssl.stages.validate import validate

ROOT = Path(__file__).parents[3]


def call(*arguments):
    return CliRunner().invoke(validate, [*map(str, arguments)])


def test_valid_directory_is_said_so(golden):
    result = call("--kaldi", "--no-feats", golden / "datadirs/00_valid", golden / "datadirs/x00_valid_segments")
    assert result.exit_code == 0 and result.output.count(": valid") == 2


def test_one_broken_directory_among_valid_ones_is_an_error(golden):
    result = call("--kaldi", "--no-feats", golden / "datadirs/00_valid", golden / "datadirs/01_unsorted")
    assert isinstance(result.exception, InputError) and "01_unsorted/wav.scp:3" in str(result.exception)


def test_several_problems_are_listed_and_counted(golden):
    result = call("--kaldi", "--no-feats", golden / "datadirs/06_spaces")
    assert isinstance(result.exception, InputError) and "3 problems" in str(result.exception)
    assert result.stderr.count("spkssl: error: ") == 3


def test_fix_makes_a_broken_directory_valid(golden, tmp_path):
    shutil.copytree(golden / "datadirs/x12b_utt2dur_bad", tmp_path / "data")
    result = call("--kaldi", "--no-feats", "--fix", tmp_path / "data")
    assert result.exit_code == 0 and "kept 4 of 5 utterances" in result.output
    assert "kept" not in call("--kaldi", "--no-feats", "--fix", tmp_path / "data").output


def test_shared_speakers_are_an_error(golden):
    folder = golden / "datadirs/00_valid"
    result = call("--kaldi", "--no-feats", "--disjoint-from", folder, folder)
    assert isinstance(result.exception, InputError) and "shares speakers" in str(result.exception)


@pytest.mark.parametrize(("name", "status"), [("00_valid", 0), ("06_spaces", 2), ("x13c_pipe", 0)])
def test_kaldis_script_name_gives_kaldis_verdict(golden, name, status):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [ROOT / "utils/validate_data_dir.sh", "--no-text", "--no-feats", golden / "datadirs" / name]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
