"""A system's parts are exchanged on the command line: another method, clustering or encoder over the same YAML."""

import json

import pytest
import yaml

STAGES = ("--stage", "3", "--stop-stage", "6", "--rounds", "1", "--no-reference")


def sets(*settings: str) -> list[str]:
    return [part for item in settings for part in ("--set", item)]


@pytest.mark.slow
def test_pseudo_labels_may_be_learned_by_another_method(recipe):
    run = recipe("lgl")
    name = sets("retrain.method.name=aamsupcon")
    printed = run(*STAGES, *name)
    said = "retrain.method is aamsupcon by --set, not lgl: dropped gate, ungated_epochs, rates; kept margin, scale, m"
    assert printed.count(said) == 1, printed
    method = yaml.safe_load((run.exp / "config.yaml").read_text())["retrain"]["method"]
    assert (method["name"], method["scale"], method["frames"]) == ("aamsupcon", 24, 60) and "gate" not in method
    plain = last_metrics(run)
    assert {"aam", "supcon"} <= plain.keys() and "attention" not in plain

    assert "retrain round1: up to date" in run(*STAGES, *name)
    margins = ("retrain.method.margin_mode=num", "retrain.method.attention=true", "retrain.method.balance=true")
    printed = run(*STAGES, *sets(*margins), *name)
    why = [line for line in printed.splitlines() if line.startswith("retrain round1: ")][0]
    assert "pretrain: up to date" in printed and "retrain.method.margin_mode (None -> num) changed" in why, why
    assert {"aam_share", "attention"} <= last_metrics(run).keys()


def test_a_setting_that_the_new_method_does_not_know_stops_with_its_name(recipe):
    settings = sets("retrain.method.gate=gmm", "retrain.method.name=aamsupcon")
    done = recipe("lgl").run("--stage", "3", "--stop-stage", "3", *settings)
    assert done.returncode == 2
    assert "lgl.yaml: unknown key retrain.method.gate" in done.stderr, done.stderr


@pytest.mark.slow
def test_pretraining_and_clustering_may_be_others(recipe):
    run = recipe("lgl")
    others = ["pretrain.method.name=moco", "pretrain.method.queue=24", "cluster.algorithm.name=ahc"]
    printed = run(*STAGES[:3], "5", *sets(*others))
    assert printed.count("pretrain.method is moco by --set, not simclr: dropped loss, scale") == 1, printed
    info = json.loads((run.exp / "pretrain/labels/info.json").read_text())
    assert info["algorithm"]["name"] == "ahc"


def last_metrics(run) -> dict:
    return json.loads((run.exp / "round1/metrics.jsonl").read_text().splitlines()[-1])
