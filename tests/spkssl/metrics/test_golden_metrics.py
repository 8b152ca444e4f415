"""EER and minDCF of score files, to the digits Kaldi 5.5 printed."""

import gzip
import json

import numpy as np
import pytest

from spkssl.metrics.dcf import min_dcf
from spkssl.metrics.eer import eer

CORNERS = ("allequal", "few", "one_each", "reversed", "separable", "ties")
SYSTEMS = ("cosine_centred", "lda_plda", "multi_numutts", "nolda_plda")


def corner(folder, name):
    scores = [line.split()[2] for line in (folder / f"{name}.scores").read_text().splitlines()]
    is_target = [line.split()[2] == "target" for line in (folder / f"{name}.trials").read_text().splitlines()]
    return np.array(scores, np.float64), np.array(is_target)


@pytest.mark.parametrize("name", CORNERS)
def test_corner_cases_print_what_kaldi_printed(golden, name):
    folder = golden / "backend" / "metric"
    expected = json.loads((folder / "results.json").read_text())[name]
    scores, is_target = corner(folder, name)
    found = eer(scores.astype(np.float32), is_target, "kaldi")  # Kaldi reads scores as float32
    assert f"{100 * found.rate:.4g}" == expected["eer_stdout"]
    assert f"{100 * found.rate:.6g}" == f"{expected['eer_log']:.6g}"
    assert f"{found.threshold:.6g}" == f"{expected['threshold']:.6g}"
    for p_target, (value, threshold) in expected["mindcf"].items():
        cost = min_dcf(scores, is_target, float(p_target), definition="kaldi")
        assert (f"{cost.cost:.4f}", f"{cost.threshold:.4f}") == (f"{value:.4f}", f"{threshold:.4f}")


@pytest.mark.parametrize("name", SYSTEMS)
def test_score_files_print_what_kaldi_printed(golden, name):
    folder = golden / "backend"
    expected = json.loads((folder / "results.json").read_text())[name]
    trials = np.load(folder / "trials.npz")
    enrol = trials["enroll_spk" if name == "multi_numutts" else "enroll_utt"]
    with gzip.open(folder / "scores" / f"{name}.gz", "rt") as lines:
        rows = [line.split() for line in lines]
    assert [row[:2] for row in rows] == [list(pair) for pair in zip(enrol, trials["test"], strict=True)]
    scores, is_target = np.array([row[2] for row in rows], np.float64), trials["target"]
    found = eer(scores.astype(np.float32), is_target, "kaldi")
    assert f"{100 * found.rate:.4g}" == f"{expected['eer_percent']:.4g}"
    assert f"{found.threshold:.6g}" == f"{expected['eer_threshold']:.6g}"
    for p_target, kaldi in expected["mindcf"].items():
        cost = min_dcf(scores, is_target, float(p_target), definition="kaldi")
        assert (f"{cost.cost:.4f}", f"{cost.threshold:.4f}") == (f"{kaldi['value']:.4f}", f"{kaldi['threshold']:.4f}")
        # The canonical cost differs only where accepting everything pays.
        assert min_dcf(scores, is_target, float(p_target)).cost == pytest.approx(cost.cost)
