"""Cllr, its minimum, and pooling of adjacent violators."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression

from spkssl.errors import InputError
from spkssl.metrics.cllr import cllr, min_cllr
from spkssl.metrics.hull import pools

SCORES = st.lists(st.integers(-4, 4), min_size=1, max_size=15)


def test_worked_values():
    assert cllr([1], [-1]) == pytest.approx(0.451941, abs=5e-7)
    assert cllr([0, 0], [0, 0, 0]) == pytest.approx(1)
    assert cllr([2, -1], [-2, 0.5]) == pytest.approx(0.916542, abs=5e-7)
    assert min_cllr([2, -1], [-2, 0.5]) == pytest.approx(0.5)
    assert min_cllr([1, 2, 3, 4], [0, 0.5, 1.5, 2.5]) == pytest.approx(0.5)


def test_calibrated_example_is_its_own_minimum():
    # Scores +-1 times ln 3 with one error of four in each class.
    w = np.log(3)
    targets, nontargets = [w, w, w, -w], [w, -w, -w, -w]
    assert cllr(targets, nontargets) == pytest.approx(0.811278, abs=5e-7)
    assert min_cllr(targets, nontargets) == pytest.approx(0.811278, abs=5e-7)


def test_pooled_posteriors_of_the_worked_example():
    pooled = pools([2, -1], [-2, 0.5])
    per_score = np.repeat(pooled.posterior, pooled.targets + pooled.nontargets)
    assert list(per_score) == [0, 0.5, 0.5, 1]
    assert list(pooled.threshold) == [-2, -1, 2]


@given(SCORES, SCORES)
def test_pools_equal_isotonic_regression_with_ties_pooled(targets, nontargets):
    scores = np.array(targets + nontargets)
    label = np.repeat([1.0, 0.0], [len(targets), len(nontargets)])
    distinct, group, weight = np.unique(scores, return_inverse=True, return_counts=True)
    fitted = isotonic_regression(np.bincount(group, label) / weight, sample_weight=weight.astype(float))
    pooled = pools(targets, nontargets)
    run = np.searchsorted(pooled.threshold, distinct, side="right") - 1
    assert pooled.posterior[run] == pytest.approx(fitted)
    assert np.all(np.diff(pooled.posterior) > 0)


def test_pools_of_a_long_list_equal_isotonic_regression():
    rng = np.random.default_rng(3)
    is_target = rng.random(5000) < 0.3
    scores = np.round(rng.standard_normal(5000) + 1.5 * is_target, 2)
    distinct, group, weight = np.unique(scores, return_inverse=True, return_counts=True)
    fitted = isotonic_regression(np.bincount(group, is_target) / weight, sample_weight=weight.astype(float))
    pooled = pools(scores, is_target)
    run = np.searchsorted(pooled.threshold, distinct, side="right") - 1
    assert pooled.posterior[run] == pytest.approx(fitted)


@given(SCORES, SCORES, st.randoms(use_true_random=False))
def test_min_cllr_ignores_order_increasing_maps_and_copies(targets, nontargets, random):
    before = min_cllr(targets, nontargets)
    random.shuffle(targets)
    random.shuffle(nontargets)
    assert min_cllr(targets, nontargets) == before
    assert min_cllr(np.exp(targets), np.exp(nontargets)) == before
    assert min_cllr(targets * 3, nontargets * 3) == pytest.approx(before)


@given(SCORES, SCORES)
def test_calibration_loss_is_not_negative(targets, nontargets):
    assert -1e-12 <= min_cllr(targets, nontargets) <= min(1, cllr(targets, nontargets)) + 1e-12


def test_extreme_scores_do_not_overflow():
    assert cllr([1e4], [-1e4]) == 0
    assert cllr([-1e4], [1e4]) == pytest.approx(1e4 / np.log(2))


def test_blocks_do_not_change_the_mean():
    rng = np.random.default_rng(0)
    targets, nontargets = rng.standard_normal(2_500_000, np.float32), rng.standard_normal(10)
    expected = (np.log2(1 + np.exp(-targets.astype(float))).mean() + np.log2(1 + np.exp(nontargets)).mean()) / 2
    assert cllr(targets, nontargets) == pytest.approx(expected, rel=1e-12)


def test_no_scores_are_an_error():
    with pytest.raises(InputError):
        min_cllr([], [1.0])
