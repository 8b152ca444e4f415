"""`spkssl bench` from the command line."""

import json

import pytest
from click.testing import CliRunner

from spkssl.bench.cases import CASES
from spkssl.errors import InputError
from spkssl.stages.bench import bench


def call(*args: object) -> str:
    return CliRunner().invoke(bench, [str(arg) for arg in args], catch_exceptions=False, standalone_mode=False).output


def test_the_report_holds_machine_settings_and_cases(tmp_path):
    out = tmp_path / "bench.json"
    shown = call("plda_em", "ark_crops", "--small", "--threads", 1, "--repeat", 1, "--out", out)
    report = json.loads(out.read_text(encoding="utf-8"))
    assert set(report) == {"machine", "settings", "cases"}
    assert report["settings"] == {"small": True, "threads": 1, "repeat": 1}
    assert {"cpus", "model", "load", "packages", "python"} <= set(report["machine"])
    assert "torch" in report["machine"]["packages"] and report["machine"]["cpus"] >= 1
    assert [row["case"] for row in report["cases"]] == ["plda_em", "ark_crops"]
    assert report["cases"][0]["target"] == {"seconds": 0.5}
    assert report["cases"][0]["elsewhere_seconds"] == {"wespeaker": 2.2}
    assert [peer["peer"] for peer in report["cases"][1]["peers"]] == ["kaldiio.load_mat"]
    assert all(row["seconds"]["median"] > 0 and row["peak_mb"] > 0 for row in report["cases"])
    assert "plda_em" in shown and "<= 0.5 s" in shown and str(out) in shown


def test_an_unknown_case_measures_nothing_and_writes_nothing(tmp_path):
    out = tmp_path / "bench.json"
    with pytest.raises(InputError, match=r"bench: unknown name 'fbanc' .*did you mean fbank\?"):
        CliRunner().invoke(bench, ["eer", "fbanc", "--out", str(out)], catch_exceptions=False, standalone_mode=False)
    assert not out.exists()


def test_list_names_every_case(tmp_path):
    shown = call("--list")
    assert [line.split()[0] for line in shown.splitlines()] == list(CASES)
