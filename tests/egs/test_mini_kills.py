"""kill -9 anywhere, then the same command: the end is the same to the last bit."""

import json

import pytest

BASES = ("simclr", "moco", "dino", "rdino")


@pytest.mark.parametrize("system", BASES)
def test_pretraining_killed_in_the_middle_ends_as_if_it_had_not_been(recipe, system):
    whole, killed = recipe(system, "whole"), recipe(system, "killed")
    stages = ("--stage", "3", "--stop-stage", "3")
    whole(*stages)
    killed.kill_when(killed.exp / "pretrain/ckpt/step-5.pt", *stages)
    assert not (killed.exp / "pretrain/encoder.pt").exists()
    assert "resuming after step" in killed(*stages)
    assert whole.same_weights(killed, "pretrain")
    rows = [
        [
            {k: v for k, v in json.loads(line).items() if k not in ("utts_per_second", "data_wait")}
            for line in (run.exp / "pretrain/metrics.jsonl").read_text().splitlines()
        ]
        for run in (whole, killed)
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("system", BASES)
def test_kills_in_features_extraction_and_retraining_leave_no_trace(recipe, data_copy, system):
    whole, killed = recipe(system, "whole"), recipe(system, "killed", data_copy)
    whole("--stage", "2", "--stop-stage", "6", "--rounds", "1", "--no-reference")
    killed.kill_when(data_copy / "train/feats", "--stage", "2", "--stop-stage", "2")
    killed("--stage", "2", "--stop-stage", "3")
    killed.kill_when(killed.exp / "pretrain/emb/train", "--stage", "4", "--stop-stage", "4")
    killed("--stage", "4", "--stop-stage", "5")
    killed.kill_when(killed.exp / "round1/ckpt/step-4.pt", "--stage", "6", "--rounds", "1", "--no-reference")
    killed("--stage", "6", "--stop-stage", "6", "--rounds", "1", "--no-reference")
    for step in ("pretrain", "round1"):
        assert whole.same_weights(killed, step)
        for name in ("emb/train/xvector.ark", "emb/test/xvector.ark", "labels/utt2cluster"):
            assert (whole.exp / step / name).read_bytes() == (killed.exp / step / name).read_bytes(), (step, name)
