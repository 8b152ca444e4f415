"""When a comparison is made again, and what it says of costs and of reflective learning."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from spkssl.io.tables import read_table
from spkssl.stages import report_compare
from spkssl.stages.report import report


def call(*arguments):
    words = [str(each) for each in arguments]
    return CliRunner().invoke(report, words, catch_exceptions=False, standalone_mode=False).output


@pytest.fixture
def compared(make_run, monkeypatch):
    """Two runs, a way to compare them, and where the comparison lies."""
    monkeypatch.setattr("spkssl.report.page._plots", lambda view: [])
    runs = [make_run("a"), make_run("b", seed=1)]
    out = runs[0].parent / "out"
    words = [word for exp in runs for word in ("--compare", exp)]
    return runs, lambda: call(*words, "--out", out, "--set", "score.bootstrap=0"), out


def test_what_trainings_took_and_how_they_looked_makes_a_new_comparison(compared):
    (exp, _), again, out = compared
    again()
    assert "up to date" in again()
    path = exp / "round1" / "metrics.jsonl"
    path.write_text(path.read_text().replace('"entropy": 0.9', '"entropy": 0.7'))
    assert "metrics.jsonl changed" in again() and "up to date" in again()
    mark = exp / ".done" / "retrain.round1.json"
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "cpu_seconds": 50.0}))  # the same work, done again
    assert "cpu_seconds (None -> 50.0) changed" in again() and "up to date" in again()
    for name in ("extract.pretrain.train", "cluster.pretrain"):
        (exp / ".done" / f"{name}.json").write_text('{"hash": "x", "cpu_seconds": 2.5}')
    assert "step_seconds (None -> 55.0) changed" in again()
    found = {row["at"]: row for row in json.loads((out / "compare.json").read_text())["costs"]}
    assert found["round1"]["since"] == {"mean": 55.0, "sd": None, "n": 1} and found["round1"]["unknown"] == 1
    log = exp / "round1" / "log" / "train.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text("resuming after step 3\n")
    assert "step_seconds (55.0 -> None) changed" in again()


@pytest.mark.parametrize("part", ["gates", "trainings", "costs"])
def test_comparison_of_an_older_version_is_made_again(compared, part):
    _, again, out = compared
    again()
    found = json.loads((out / "compare.json").read_text())
    assert set(found) == report_compare._PARTS
    del found[part]
    (out / "compare.json").write_text(json.dumps(found))
    assert "forced" in again() and "up to date" in again()


def reflect(exp, active):
    """What SSRL leaves of a round: true labels at its end, and so many active classes in its epochs."""
    utts = list(read_table(exp.parents[1] / "data" / "train" / "ref" / "utt2spk"))
    label = np.array([int(utt[1:3]) for utt in utts])
    table = {"utt": np.array([utt.encode() for utt in utts]), "label": label, "clean": np.ones(len(utts), np.float32)}
    np.savez(exp / "round1" / "utterances.npz", **table)
    lines = [
        {"step": e + 1, "epoch": e, "active_classes": n, "changed_labels": 0.1, "clean_mean": 0.5}
        for e, n in enumerate(active)
    ]
    (exp / "round1" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    call("--exp", exp, "--data", exp.parents[1] / "data")


def test_reflective_learning_is_told_by_epoch_beside_the_true_speakers(compared):
    runs, again, out = compared
    for exp, active in zip(runs, ([20, 16, 12], [20, 18]), strict=True):
        reflect(exp, active)
    shown = again()
    found = json.loads((out / "compare.json").read_text())
    (row,) = found["reflection_epochs"]
    assert [epoch["active_classes"] for epoch in row["epochs"]] == [20, 17, 12]  # the last of one run alone
    assert (row["runs"], row["speakers"]) == (2, 10)
    assert found["reflections"][0]["values"]["speakers"]["mean"] == 10
    assert "Speakers by the TRUE LABELS: dino: 10." in shown
    assert shown.split("Reflective learning by epoch\n")[1].splitlines()[2].split() == ["2", "17.0", "10.00", "0.5000"]


def test_rows_of_reports_that_did_not_count_speakers_are_still_compared(compared):
    runs, again, _ = compared
    for exp in runs:
        reflect(exp, [20])
        path = exp / "results.json"
        found = json.loads(path.read_text())
        del found["reflections"][0]["speakers"]
        path.write_text(json.dumps(found))
    shown = again()
    assert "Labels of reflective learning" in shown and "Speakers by the TRUE LABELS" not in shown
