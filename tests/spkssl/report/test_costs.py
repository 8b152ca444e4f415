import json

import pytest

from spkssl.report import costs
from spkssl.report.compare import Group
from spkssl.report.run import View

SECONDS = {
    "pretrain": 100.0,
    "extract.pretrain.train": 5.0,
    "extract.pretrain.dev": 1000.0,  # for scoring, no matter to training
    "cluster.pretrain": 2.0,
    "retrain.round1": 30.0,
    "extract.round1.train": 6.0,
    "cluster.round1": 3.0,
    "retrain.round2": 40.0,
    "cluster.round2": 1000.0,
    "retrain.supervised": 60.0,
}
ORDER = ("untrained", "pretrain", "round1", "round2", "supervised")


def run(folder, changes=None):
    (folder / ".done").mkdir(parents=True)
    for name, seconds in {**SECONDS, **(changes or {})}.items():
        facts = {"seconds": 1.0} if seconds is None else {"seconds": 1.0, "cpu_seconds": seconds}
        (folder / ".done" / f"{name}.json").write_text(json.dumps(facts))
    return View(folder, {"results": [], "clusters": []}, ORDER, {})


def test_cost_since_the_pretraining_sums_all_rounds_with_their_extraction_and_clustering(tmp_path):
    rows = costs.spread([Group("lgl", [run(tmp_path / "a")])], ORDER)
    found = {row["at"]: (row["step"]["mean"], row["since"]["mean"]) for row in rows}
    assert found == {
        "pretrain": (100, 0),
        "round1": (5 + 2 + 30, 37),
        "round2": (6 + 3 + 40, 37 + 49),
        "supervised": (60, 60),
    }


def test_costs_are_averaged_over_runs_and_shown_in_a_table(tmp_path):
    views = [run(tmp_path / "a"), run(tmp_path / "b", {"retrain.round1": 34.0})]
    rows = costs.spread([Group("lgl", views)], ORDER)
    (row,) = [row for row in rows if row["at"] == "round2"]
    assert row["since"] == {"mean": 88, "sd": pytest.approx(8**0.5), "n": 2} and row["step"]["sd"] == 0
    lines = costs.table(rows).rows
    assert lines[2] == ("lgl", "round2", "2", "49.0", "0.0", "88.0", "2.8")


@pytest.mark.parametrize("untold", ["extract.pretrain.train", "cluster.pretrain", "retrain.round1"])
def test_what_an_old_marker_does_not_tell_is_not_taken_for_nothing(tmp_path, untold):
    views = [run(tmp_path / "a"), run(tmp_path / "b", {untold: None})]
    rows = {row["at"]: row for row in costs.spread([Group("lgl", views)], ORDER)}
    assert rows["round1"]["step"]["n"] == 1 and rows["round2"]["since"]["n"] == 1 and rows["round2"]["step"]["n"] == 2
    notes = costs.table(list(rows.values())).notes
    assert notes[1:] == tuple(
        f"lgl, {at}: without 1 of 2 runs, of which some step's time is not known." for at in ("round1", "round2")
    )
    alone = costs.spread([Group("lgl", views[1:])], ORDER)
    assert costs.table(alone).rows[1][3:] == ("-",) * 4


def test_a_resumed_round_has_no_known_cost_nor_have_those_after_it(tmp_path):
    view = run(tmp_path / "a")
    log = tmp_path / "a" / "round1" / "log" / "train.log"
    log.parent.mkdir(parents=True)
    log.write_text("resuming after step 3\n")
    rows = {row["at"]: row for row in costs.spread([Group("lgl", [view])], ORDER)}
    assert rows["round1"]["step"]["mean"] is None and rows["round2"]["since"]["mean"] is None
    assert rows["round2"]["step"]["mean"] == 49


def test_the_training_set_is_that_of_the_configuration(tmp_path):
    view = run(tmp_path / "a", {"extract.pretrain.small": 1.5})
    (tmp_path / "a" / "config.yaml").write_text("data: {train: small}\n")
    assert costs.seconds_of_step(view, "round1") == 1.5 + 2 + 30
