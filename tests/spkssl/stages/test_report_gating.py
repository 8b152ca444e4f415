"""What the report says of gates and of reflective learning, of one run and of several."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from spkssl.io.atomic import write_json
from spkssl.io.markers import fingerprint
from spkssl.io.tables import read_table
from spkssl.stages.report import report
from spkssl.stages.results import read_results


def call(*arguments):
    found = CliRunner().invoke(report, [str(each) for each in arguments], catch_exceptions=False, standalone_mode=False)
    if found.exception:
        raise found.exception
    return found.output


def of(exp, *more):
    return call("--exp", exp, "--data", exp.parents[1] / "data", *more)


def cells(text, title):
    """The rows of a Markdown table below its heading."""
    lines = text.split(f"## {title}\n\n", 1)[1].split("\n\n")[0].splitlines()
    split = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [dict(zip(split[0], row, strict=True)) for row in split[2:]]


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setattr("spkssl.report.page._plots", lambda view: [])


def gate(exp, before, at, wrong):
    """A gate that turns away `wrong` utterances whose label is wrong, and nobody else."""
    given = {utt: int(label) for utt, label in read_table(exp / before / "labels" / "utt2cluster").items()}
    kept = {utt: label for utt, label in given.items() if label >= 0}
    bad = [k for k, (utt, label) in enumerate(kept.items()) if int(utt[1:3]) != label][:wrong]
    accepted = np.ones(len(kept), bool)
    accepted[bad] = False
    loss = np.where(accepted, 0.1, 9.0).astype(np.float32)
    label = np.where(accepted, list(kept.values()), -1)
    utt = np.array([name.encode() for name in kept])
    np.savez(exp / at / "utterances.npz", utt=utt, loss=loss, accepted=accepted, label=label)
    lines = [{"step": 10 * e, "epoch": e - 1, "accepted": 1 / e, "idle": 0.1 * (e > 1)} for e in (1, 2, 3)]
    (exp / at / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return len(bad), len(kept)



def test_gate_of_each_round_is_in_results_json_on_screen_and_in_the_markdown(make_run):
    exp = make_run(rounds=2)
    turned = [gate(exp, "pretrain", "round1", 12), gate(exp, "round1", "round2", 3)]
    shown = of(exp)
    rows = read_results(exp)["gates"]
    purities = [row["purity"] for row in read_results(exp)["clusters"]]
    assert [(row["at"], row["stage"], row["round"]) for row in rows] == [(f"round{r}", "retrain", r) for r in (1, 2)]
    for row, (bad, many), purity in zip(rows, turned, purities, strict=False):
        assert row["accepted"] == pytest.approx(1 - bad / many)
        assert row["precision"]["given"] == pytest.approx(purity)
        assert row["precision"]["rejected"] == 0 and row["precision"]["accepted"] > purity
        assert (row["steps"], row["idle_steps"]) == (30, 2)
    text = (exp / "RESULTS.md").read_text()
    table = cells(text, "Gate")
    assert [line["precision of accepted"] for line in table] == [f"{row['precision']['accepted']:.4f}" for row in rows]
    assert [line["idle steps"] for line in table] == ["2", "2"] and "of rejected" in shown
    by_epoch = cells(text, "Gate by epoch")
    assert [line["round1: accepted %"] for line in by_epoch] == ["100.00", "50.00", "33.33"]
    assert "Gate by epoch" in (exp / "report.html").read_text() and "up to date" in of(exp)


def test_without_true_labels_only_the_share_is_shown(make_run):
    exp = make_run()
    gate(exp, "pretrain", "round1", 5)
    (exp.parents[1] / "data" / "train" / "ref" / "utt2spk").unlink()
    of(exp)
    (line,) = cells((exp / "RESULTS.md").read_text(), "Gate")
    assert line["accepted %"] != "100.00" and not any("precision" in name for name in line)


def test_labels_clustered_anew_since_training_are_not_judged(make_run):
    exp = make_run()
    gate(exp, "pretrain", "round1", 5)
    labels = exp / "pretrain" / "labels" / "utt2cluster"
    made = {"hash": "x", "inputs": {"pretrain/labels/utt2cluster": fingerprint(labels)}}
    write_json(exp / ".done" / "retrain.round1.json", made)
    of(exp)
    assert read_results(exp)["gates"][0]["precision"]["given"] is not None
    labels.write_text(labels.read_text().replace(" 3\n", " 4\n"))
    assert "is not what it was trained on" in of(exp)
    assert read_results(exp)["gates"][0]["precision"]["given"] is None


def test_reflective_learning_is_reported_and_methods_without_either_are_not(make_run):
    exp = make_run()
    assert "Gate" not in of(exp) and read_results(exp)["gates"] == read_results(exp)["reflections"] == []
    truth = read_table(exp.parents[1] / "data" / "train" / "ref" / "utt2spk")
    label = np.array([int(utt[1:3]) for utt in truth])
    utt = np.array([utt.encode() for utt in truth])
    np.savez(exp / "round1" / "utterances.npz", utt=utt, label=label, clean=np.ones(len(utt), np.float32))
    stats = {"active_classes": 10, "changed_labels": 0.125, "clean_mean": 0.5, "effective_share": 1.0}
    (exp / "round1" / "metrics.jsonl").write_text(json.dumps({"step": 9, "epoch": 0, **stats}) + "\n")
    of(exp)
    (row,) = read_results(exp)["reflections"]
    assert (row["active"], row["nmi"], row["purity"]) == (10, pytest.approx(1), 1)
    text = (exp / "RESULTS.md").read_text()
    (line,) = cells(text, "Reflective learning")
    assert (line["active at the end"], line["NMI at the end"]) == ("10", "1.0000")
    (line,) = cells(text, "Reflective learning by epoch: round1")
    assert (line["active classes"], line["changed %"], line["clean mean"]) == ("10", "12.50", "0.5000")


def test_comparison_averages_gates_over_runs_by_round(make_run):
    runs = [make_run("a"), make_run("b", seed=1)]
    for exp, wrong in zip(runs, (4, 8), strict=True):
        gate(exp, "pretrain", "round1", wrong)
        of(exp)
    out = runs[0].parent / "out"
    more = [word for exp in runs for word in ("--compare", exp)]
    shown = call(*more, "--out", out, "--set", "score.bootstrap=0")
    (row,) = json.loads((out / "compare.json").read_text())["gates"]
    accepted = [100 * read_results(exp)["gates"][0]["accepted"] for exp in runs]
    expected = {"mean": np.mean(accepted), "sd": np.std(accepted, ddof=1), "n": 2}
    assert row["values"]["accepted %"] == pytest.approx(expected)
    assert (row["at"], row["runs"], row["values"]["idle steps"]["mean"]) == ("round1", 2, 2)
    (line,) = cells((out / "COMPARE.md").read_text(), "Gates")
    assert line["accepted % mean"] == f"{np.mean(accepted):.2f}" and "Gates" in shown
    assert "of corrected mean" not in line
