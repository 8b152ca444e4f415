"""The whole recipe: it ends, it does nothing twice, it notices changes, it survives kills, it needs no labels."""

import json
import math
import shutil
import subprocess
import time
from pathlib import Path

import pytest


def results(recipe) -> dict:
    return json.loads((recipe.exp / "results.json").read_text())


def test_whole_run_ends_with_a_table_and_a_second_one_does_nothing(recipe):
    run = recipe("dino")
    printed = run()
    rows = results(run)["results"]
    found = {(row["at"], row["trials"]) for row in rows if row["backend"] == "cosine"}
    steps = ("fbank_stats", "untrained", "pretrain", "round1", "round2", "supervised")
    assert found >= {(at, trials) for at in steps for trials in ("dev", "test")}
    used = {row["at"]: row["labels_used"] for row in rows if row["backend"] == "cosine"}
    assert used["pretrain"] == "none" and used["round2"] == "pseudo" and used["supervised"] == "true"
    for name in ("RESULTS.md", "report.html", "config.yaml", "provenance.json"):
        assert (run.exp / name).stat().st_size > 0
    assert "supervised" in printed

    started = time.monotonic()
    again = run()
    assert "done in" not in again and "not done yet" not in again, again
    assert time.monotonic() - started < 60

    redone = run("--stage", "5", "--stop-stage", "7", "--cluster", "ahc", "--num-clusters", "6")
    for line in ("cluster pretrain: ", "retrain round1: ", "retrain round2: "):
        assert any(text.startswith(line) and "up to date" not in text for text in redone.splitlines()), redone
    assert "retrain supervised: up to date" in redone
    labels = (run.exp / "pretrain/labels/utt2cluster").read_text().split()[1::2]
    assert max(map(int, labels)) == 5


def test_training_needs_no_true_labels(recipe, tiny_data, tmp_path):
    with_ref, data = recipe("simclr", "with"), tmp_path / "data"
    shutil.copytree(tiny_data, data)
    shutil.rmtree(data / "train" / "ref")
    without = recipe("simclr", "without", data)
    stages = ("--stage", "3", "--stop-stage", "6", "--rounds", "1", "--no-reference")
    with_ref(*stages), without(*stages)
    assert with_ref.same_weights(without, "round1")
    assert (with_ref.exp / "round1/labels/utt2cluster").read_bytes() == (
        without.exp / "round1/labels/utt2cluster"
    ).read_bytes()


def test_a_changed_input_is_noticed_downstream(recipe, data_copy):
    run = recipe("simclr", "exp", data_copy)
    stages = ("--stage", "2", "--stop-stage", "3")
    run(*stages)
    assert "pretrain: up to date" in run(*stages)
    printed = run(*stages, "--set", "features.fbank.low_freq=40")
    assert "fbank.low_freq (None -> 40) changed" in printed or "features.json changed" in printed
    assert "pretrain: up to date" not in printed


def test_dry_run_writes_nothing(recipe, tmp_path):
    run = recipe("dino", "exp", tmp_path / "nowhere")
    printed = run("--dry-run", "--stage", "3", "--stop-stage", "5")
    assert "pretrain: would run (not done yet)" in printed
    assert not run.exp.exists() and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--stage",), "--stage needs a value"),
        (("--stage=3",), "write --stage 3 instead of --stage=3"),
        (("--sytem", "dino"), "unknown option --sytem"),
        (("stray",), "unexpected argument stray"),
        (("--set",), "--set needs a value"),
        (("--stage", "three"), "take numbers"),
        (("--system", "dno"), "--system dno: no such file in egs/mini/conf (there are: aamsupcon dino "),
    ],
)
def test_a_wrong_option_stops_with_one_line(recipe, options, message):
    done = recipe("dino").run(*options)
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cluster", "kmean"), "--cluster: unknown name 'kmean'"),
        (("--backend", "pldaa"), "--backend: unknown name 'pldaa'"),
        (("--set", "score.bootstraps=3"), "dino.yaml: unknown key score.bootstraps"),
    ],
)
def test_what_a_late_stage_does_not_know_stops_before_the_first(recipe, tmp_path, options, message):
    done = recipe("dino", "exp", tmp_path / "data").run(*options)
    said, failed = done.stderr.splitlines()
    assert done.returncode == 2 and not done.stdout and not list(tmp_path.iterdir())
    assert message in said and failed == "run.sh: failed in the settings (exit status 2)"


def test_a_value_is_never_evaluated(recipe, tmp_path):
    trap = tmp_path / "trap"
    done = recipe("dino").run("--stage", "3", "--stop-stage", "3", "--dry-run", "--seed", f"$(touch {trap})")
    assert done.returncode != 0 and not trap.exists()


def test_two_processes_train_as_one_does(recipe):
    """torchrun with gloo on the CPU, batch statistics over both: equal up to the order of summation."""
    pytest.importorskip("torch.distributed")
    losses = {}
    for system in ("simclr", "dino"):
        for ranks in (1, 2):
            run = recipe(system, f"{system}{ranks}")
            command = [part for part in run.command() if part]
            settings = [command[i + 1] for i, part in enumerate(command) if part == "--set"]
            losses[system, ranks] = _train(run, ranks, settings)
    for system in ("simclr", "dino"):
        assert losses[system, 2] == pytest.approx(losses[system, 1], rel=2e-3), system


def _train(run, ranks: int, settings: list[str]) -> list[float]:
    import sys

    root = Path(__file__).parents[2]
    options = [
        "--config",
        str(root / f"egs/mini/conf/{run.system}.yaml"),
        "--exp",
        str(run.exp),
        "--data",
        str(run.data),
    ]
    options += [part for item in (*settings, "pretrain.loop.log_every=1") for part in ("--set", item)]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"] if ranks == 2 else []
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "spkssl", "pretrain", *options],
        env=run.environment(), cwd=root, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line)["loss"] for line in (run.exp / "pretrain/metrics.jsonl").read_text().splitlines()]


def test_training_reads_audio_as_well_as_features(recipe):
    runs = {mode: recipe("simclr", mode) for mode in ("feats", "wave")}
    losses = {}
    for mode, run in runs.items():
        run("--stage", "3", "--stop-stage", "4", "--input", mode, "--set", "pretrain.loop.log_every=1")
        rows = (run.exp / "pretrain/metrics.jsonl").read_text().splitlines()
        losses[mode] = [json.loads(row)["loss"] for row in rows]
        assert (run.exp / "pretrain/emb/test/xvector.scp").exists()
    assert all(map(math.isfinite, losses["wave"] + losses["feats"]))
    assert losses["wave"] != losses["feats"]  # features are not augmented exactly as audio is
