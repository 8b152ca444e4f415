"""Rounds of pseudo labels: from an existing stage 4, through kills, and ended by what the labels themselves say."""

import json

import pytest

LGL = [
    "--no-reference", "--cluster", "kmeans_ahc", "--num-clusters", "6",
    "--set", "retrain.method.ungated_epochs=1", "--set", "retrain.method.frames=60",
]  # fmt: skip
FILES = ("emb/train/xvector.ark", "emb/test/xvector.ark", "labels/utt2cluster", "labels/centroids.npy", "stop.json")


def rows(path):
    timed = ("utts_per_second", "data_wait")
    return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in path.read_text().splitlines()]


def test_stage_6_makes_the_labels_that_stage_5_did_not(recipe):
    run = recipe("lgl")
    printed = run("--dry-run", "--stage", "6", "--stop-stage", "6", "--rounds", "1", "--no-reference")
    order = ["cluster pretrain", "retrain round1", "extract round1", "cluster round1", "stop round1"]
    said = [printed.index(f"{name}{' train' * name.startswith('extract')}: would run") for name in order]
    assert said == sorted(said)
    marker = run.exp / ".done/cluster.pretrain.json"
    marker.parent.mkdir(parents=True)
    marker.touch()
    stage = ("--dry-run", "--stage", "6", "--stop-stage", "6", "--rounds", "1", "--no-reference")
    assert "cluster pretrain" not in run(*stage)  # somebody clustered, and nothing else is asked for
    assert "cluster pretrain: would run" in run(*stage, "--cluster", "ahc")


@pytest.mark.slow
def test_three_rounds_from_stage_4_and_again_through_a_kill_in_the_second(recipe):
    whole, killed = recipe("lgl", "whole"), recipe("lgl", "killed")
    command = ("--stage", "6", "--rounds", "3", *LGL)
    whole("--stage", "3", "--stop-stage", "4")
    killed("--stage", "3", "--stop-stage", "5")  # with a clustering that stage 6 then makes otherwise
    printed = whole(*command)
    assert "cluster pretrain: not done yet" in printed and printed.count("of the labels, each at its") == 3
    killed.kill_when(killed.exp / "round2/ckpt/step-6.pt", *command)
    assert not (killed.exp / "round2/encoder.pt").exists()
    printed = killed(*command)
    assert "retrain round1: up to date" in printed and "resuming after step" in printed
    for at in ("pretrain", "round1", "round2", "round3"):
        assert whole.same_weights(killed, at)
        for name in FILES if at != "pretrain" else FILES[:-1]:
            assert (whole.exp / at / name).read_bytes() == (killed.exp / at / name).read_bytes(), (at, name)
        assert rows(whole.exp / at / "metrics.jsonl") == rows(killed.exp / at / "metrics.jsonl")
    found = [json.loads((run.exp / "results.json").read_text()) for run in (whole, killed)]
    assert found[0]["gates"] == found[1]["gates"] and [row["at"] for row in found[0]["gates"]] == [
        "round1", "round2", "round3"
    ]  # fmt: skip
    assert [row["eer"] for row in found[0]["results"]] == [row["eer"] for row in found[1]["results"]]
    labels = (whole.exp / "round3/labels/utt2cluster").read_text().split()[1::2]
    assert set(labels) == {str(k) for k in range(6)}


@pytest.mark.slow
def test_stable_labels_end_the_rounds_and_later_stages_work_with_those_there_are(recipe):
    run = recipe("lgl")
    rule = ("--set", "retrain.stop.rule=stability", "--set", "retrain.stop.agreement=0.01")
    rule += ("--set", "retrain.stop.earliest=2", "--rounds", "4", *LGL)
    printed = run("--stage", "3", *rule)
    assert "but 2 rounds are made in any case" in printed and "round2: no further round: ARI" in printed
    assert (run.exp / "round2/encoder.pt").exists() and not (run.exp / "round3").exists()
    scored = {row["at"] for row in json.loads((run.exp / "results.json").read_text())["results"]}
    assert {"round1", "round2"} <= scored and "round3" not in scored
    again = run("--stage", "6", *rule)
    assert "done in" not in again and "stop round2: up to date" in again
    assert "score round2 cosine: up to date" in run("--stage", "7", *rule)
    on = run("--stage", "6", "--stop-stage", "6", "--rounds", "3", *LGL)
    assert "retrain round2: up to date" in on and "retrain round3: not done yet" in on


@pytest.mark.slow
def test_where_the_gate_lets_nobody_pass_no_step_is_made_and_it_is_said(recipe):
    run = recipe("lgl")
    nobody = ("--set", "retrain.method.gate=threshold", "--set", "retrain.method.thresholds=[-1.0]")
    nobody += ("--set", "retrain.loop.log_every=1")
    printed = run("--stage", "3", "--rounds", "1", *LGL, *nobody)
    assert "round1: the gate accepted 0.0% of the labels" in printed
    assert "warning: round1: in 8 of 12 steps nothing taught, and none was made" in printed
    (row,) = json.loads((run.exp / "results.json").read_text())["gates"]
    assert (row["accepted"], row["steps"], row["idle_steps"]) == (0, 12, 8)
    assert [epoch["idle_steps"] for epoch in row["epochs"]] == [0, 4, 4]
    assert "warning: round1" in (run.exp / "round1/log/train.log").read_text()
    assert all(row["loss"] == row["loss"] for row in rows(run.exp / "round1/metrics.jsonl"))
