import json

import pytest

from spkssl.report import trainings
from spkssl.report.compare import Group
from spkssl.report.run import View


def run(folder, lines, cpu_seconds):
    (folder / ".done").mkdir(parents=True)
    (folder / "pretrain").mkdir()
    facts = {"seconds": 99, "cpu_seconds": cpu_seconds, "peak_mb": 10, "steps": 4}
    (folder / ".done" / "pretrain.json").write_text(json.dumps(facts))
    (folder / "pretrain" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return View(folder, {"results": [], "clusters": []}, ("untrained", "pretrain"), {})


@pytest.fixture
def rows(tmp_path):
    term = [{"step": k, "epoch": k // 2, "embed_std": k / 4, "entropy": 0.5} for k in range(8)]
    for line in term[:5]:  # a term of the loss that leaves after the second of four epochs, within a line
        line["contrastive"] = 1.0
    other = [{**line, "embed_std": 0.25} for line in term]
    for line in other[4:7]:
        line["contrastive"] = 1.0
    group = Group("memo", [run(tmp_path / "a", term, 10.0), run(tmp_path / "b", other, 14.0)])
    return trainings.spread([group], ["untrained", "pretrain"])


def test_cost_and_last_epoch_are_averaged_over_runs(rows):
    (row,) = rows  # an untrained encoder has no row
    assert (row["system"], row["at"], row["runs"]) == ("memo", "pretrain", 2)
    assert row["cpu_seconds"] == {"mean": 12.0, "sd": pytest.approx(8**0.5), "n": 2}
    assert row["embed_std"]["mean"] == pytest.approx(((6 + 7) / 2 / 4 + 0.25) / 2)
    assert row["entropy"]["mean"] == 0.5 and row["distinct"] == {"mean": None, "sd": None, "n": 0}


def test_terms_that_left_are_told_with_the_epochs_they_had(rows):
    assert rows[0]["ended"] == {"contrastive": {"mean": 2.5, "sd": pytest.approx(0.5**0.5), "n": 2}}
    lines = "\n".join(trainings.table(rows).lines())
    assert "memo, pretrain, ended before the training: contrastive after 2.5 (sd 0.7) epochs in 2 of 2 runs." in lines


def test_missing_metrics_leave_only_the_cost(tmp_path):
    view = run(tmp_path / "a", [], 3.0)
    view.metrics_file("pretrain").unlink()
    (row,) = trainings.spread([Group("x", [view])], ["pretrain"])
    assert row["cpu_seconds"]["mean"] == 3.0 and row["embed_std"]["n"] == 0 and row["ended"] == {}


def test_lines_of_the_last_epoch_count_by_their_steps(tmp_path):
    # An epoch of 12 steps, and a line after every 10 steps of the training.
    steps = {10: (0, 0.1), 12: (0, 0.1), 20: (1, 0.5), 22: (1, 0.9), 24: (1, 0.2)}
    lines = [{"step": step, "epoch": epoch, "embed_std": value} for step, (epoch, value) in steps.items()]
    (row,) = trainings.spread([Group("x", [run(tmp_path / "a", lines, 3.0)])], ["pretrain"])
    assert row["embed_std"]["mean"] == pytest.approx((8 * 0.5 + 2 * 0.9 + 2 * 0.2) / 12)


def test_cost_of_a_resumed_training_is_left_out_and_told(tmp_path):
    views = [run(tmp_path / name, [], seconds) for name, seconds in (("a", 10.0), ("b", 14.0), ("c", 1.0))]
    log = tmp_path / "c" / "pretrain" / "log" / "train.log"
    log.parent.mkdir()
    log.write_text("resuming after step 3\n")
    rows = trainings.spread([Group("x", views)], ["pretrain"])
    assert rows[0]["cpu_seconds"] == {"mean": 12.0, "sd": pytest.approx(8**0.5), "n": 2}
    assert (rows[0]["runs"], rows[0]["resumed"], rows[0]["steps"]["n"]) == (3, 1, 3)
    told = "x, pretrain: CPU s leaves out 1 of 3 runs, whose training was resumed"
    assert any(line.startswith(told) for line in trainings.table(rows).lines())
    assert not any("leaves out" in line for line in trainings.table([{**rows[0], "resumed": 0}]).lines())
