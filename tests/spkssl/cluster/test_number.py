"""Estimates of the number of speakers where it is known."""

import numpy as np
import pytest

from spkssl.cluster.linkage import tree
from spkssl.cluster.number import eigengap, estimate, grid, silhouette, stability, threshold
from spkssl.cluster.vectors import unit_rows


def speakers(number=40, each=15, spread=0.6, dim=48, seed=0):
    """Means and sessions in the same 24 directions, and noise in all."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(24, dim)) / 5
    truth = np.repeat(np.arange(number), each)
    x = rng.normal(size=(number, 24))[truth] + spread * rng.normal(size=(len(truth), 24))
    return unit_rows((x @ basis + 0.2 * rng.normal(size=(len(truth), dim))).astype(np.float32))


def test_grid_goes_from_2_to_a_quarter_of_the_rows():
    assert grid(800)[0] == 2 and grid(800)[-1] == 200
    assert grid(3) == [2]


@pytest.mark.parametrize(
    "criterion",
    [
        lambda x: silhouette(x, tree(x, "ward")),
        eigengap,
        lambda x: stability(x, np.random.default_rng(0)),
        lambda x: threshold(x, np.random.default_rng(0)),
    ],
    ids=["silhouette", "eigengap", "stability", "threshold"],
)
def test_every_criterion_finds_clear_speakers(criterion):
    assert 30 <= criterion(speakers(spread=0.4)) <= 52


@pytest.mark.parametrize("spread", [0.5, 0.8])
@pytest.mark.parametrize("number, each", [(40, 15), (25, 40)])
def test_estimate_is_within_a_third(spread, number, each):
    found = estimate(speakers(number, each, spread), np.random.default_rng(0))
    assert number / 1.33 <= found.number <= 1.33 * number
    assert set(found.by) == {"graph", "silhouette", "eigengap", "stability", "threshold"}


def test_estimate_of_many_rows_is_scaled_up_from_whole_clusters(monkeypatch):
    monkeypatch.setattr("spkssl.cluster.number._MAX_ROWS", 300)
    assert 30 <= estimate(speakers(40, 15, 0.5), np.random.default_rng(0)).number <= 53


@pytest.mark.parametrize("rows", [1, 2, 5, 9])
def test_few_rows_give_some_number(rows):
    x = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    assert 1 <= estimate(x, np.random.default_rng(0)).number <= rows
