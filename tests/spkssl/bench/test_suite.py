"""Cases run in processes of their own, and what they report can be read. No figure is compared with another."""

import subprocess
import sys

import pytest

from spkssl.bench.case import SMALL, Target, Work, sized, spread_of
from spkssl.bench.cases import CASES
from spkssl.bench.child import measure
from spkssl.bench.suite import _met, chosen, measure_all
from spkssl.errors import InputError

# What the back-ends and the training were asked to reach on two cores.
TARGETS = {
    "eer": Target(seconds=2, peak_mb=1000),
    "eer_file": Target(seconds=10, peak_mb=1500),
    "asnorm": Target(seconds=20, peak_mb=1500),
    "plda_em": Target(seconds=0.5),
    "plda_score": Target(seconds=0.3),
    "train_simclr": Target(rate=700),
    "train_dino": Target(rate=700),
    "train_aam": Target(rate=700),
}
AS_WELL = {"plda_stream", "plda_stream_em", "kmeans", "fbank", "ark_crops", "ark_crops_compressed", "synth", "extract"}
GPU = {"train_gpu_fp32", "train_gpu_bf16"}


def run(*names: str) -> dict[str, dict]:
    return {row["case"]: row for row in measure_all(chosen(names), small=True, threads=1, repeat=2)}


def check(row: dict) -> None:
    """The shape of a row, and figures that are positive."""
    for found in (row, *row["peers"]):
        seconds, rate = found["seconds"], found["rate"]
        assert len(seconds["each"]) == 2
        assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
        assert " per second" in rate["unit"]
        assert found["peak_mb"] >= found["ready_mb"] > 1
    assert row["what"] and row["threads"] == 1
    assert row["met"] is None, "a small case must not claim to meet a target"
    assert all(peer["ratio"] > 0 for peer in row["peers"])


def test_there_is_a_case_for_every_target_and_no_case_without_reason():
    assert {name: case.target for name, case in CASES.items() if case.target != Target()} == TARGETS
    assert set(CASES) == set(TARGETS) | AS_WELL | GPU


def test_cases_run_in_the_order_of_the_table_and_once_each():
    assert chosen(["fbank", "eer", "fbank"]) == ["eer", "fbank"]
    assert chosen([]) == list(CASES)


def test_an_unknown_case_is_the_users_error_and_names_the_nearest():
    with pytest.raises(InputError, match="did you mean asnorm"):
        chosen(["eer", "asnrom"])


def test_the_table_of_cases_loads_no_network():
    code = "import sys, spkssl.bench.cases; sys.exit('torch' in sys.modules or 'faiss' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_small_case_is_a_hundredth_and_never_nothing():
    assert (sized(1000, False), sized(1000, True)) == (1000, 1000 // SMALL)
    assert (sized(5, True), sized(5, True, least=3)) == (1, 3)


@pytest.mark.parametrize(
    "target, met",
    [
        (Target(seconds=2.0), True),
        (Target(seconds=1.9), False),
        (Target(peak_mb=99), False),
        (Target(rate=50.0), True),
        (Target(seconds=2.0, rate=51.0), False),
    ],
)
def test_a_target_is_met_when_all_of_its_parts_are(target, met):
    found = {"seconds": {"median": 2.0}, "rate": {"median": 50.0}, "peak_mb": 100}
    assert _met(target, found) is met


def test_the_median_lies_between_two_middle_values():
    assert spread_of([4.0, 1.0, 3.0, 2.0]) == {"min": 1.0, "median": 2.5, "max": 4.0, "each": [4.0, 1.0, 3.0, 2.0]}


def test_seconds_are_those_of_a_part_and_rates_those_of_a_thread():
    calls = []
    work = Work(lambda: calls.append(1), amount=12, unit="crops", parts=3, per_thread=True)
    found = measure(work, repeat=3, threads=2)
    assert len(calls) == len(found["seconds"]["each"]) == 3
    assert found["rate"]["median"] == pytest.approx(12 / (3 * found["seconds"]["median"]) / 2)
    assert found["rate"]["unit"] == "crops per second and thread"


def test_error_rates_are_the_same_whoever_computes_them():
    rows = run("eer", "eer_file")
    for row in rows.values():
        check(row)
    found = [rows["eer"]["facts"], rows["eer"]["peers"][0]["facts"], rows["eer_file"]["facts"]]
    assert [each["eer"] for each in found] == pytest.approx([found[0]["eer"]] * 3, abs=1e-4)
    assert [each["min_dcf"] for each in found] == pytest.approx([found[0]["min_dcf"]] * 3, abs=1e-6)


def test_training_says_how_malloc_was_set_and_how_long_it_waited_for_data():
    row = run("train_simclr")["train_simclr"]
    check(row)
    assert row["env"] == {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
    assert 0 < row["facts"]["data_wait"] < 1
    assert row["facts"]["crops_per_utterance"] == 2


def test_without_a_gpu_its_cases_are_skipped_with_a_reason():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    row = run("train_gpu_bf16")["train_gpu_bf16"]
    assert row["skipped"] == "there is no CUDA device here"
    assert "seconds" not in row


@pytest.mark.slow
def test_every_other_case_reports_positive_figures():
    rows = run(*(set(CASES) - GPU))
    assert set(rows) == set(CASES) - GPU
    for row in rows.values():
        check(row)
    assert rows["plda_stream"]["facts"]["vectors"] == 10_900
    errors = [found["facts"]["mean_square_error"] for found in (rows["kmeans"], *rows["kmeans"]["peers"])]
    assert max(errors) < 1.2 * min(errors), "all find clusterings of about the same quality"
    assert rows["train_dino"]["facts"]["crops_per_utterance"] == 4


def test_a_case_that_dies_is_not_passed_over(monkeypatch):
    monkeypatch.setitem(CASES, "no such case", CASES["plda_em"])  # the child does not know it
    with pytest.raises(RuntimeError, match="no such case"):
        run("no such case")
