"""The staircase: its points, its doors, and what it does with ties and precision."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkssl.errors import InputError
from spkssl.metrics.staircase import order, staircase

SCORES = st.lists(st.integers(-4, 4), min_size=1, max_size=12)


@given(SCORES, SCORES)
def test_points_are_the_counts_at_every_distinct_score_and_at_infinity(targets, nontargets):
    curve = staircase(targets, nontargets)
    assert list(curve.threshold) == [*sorted({*targets, *nontargets}), np.inf]
    assert list(curve.misses) == [sum(t < threshold for t in targets) for threshold in curve.threshold]
    assert list(curve.false_alarms) == [sum(n >= threshold for n in nontargets) for threshold in curve.threshold]
    assert (curve.p_fa[0], curve.p_miss[0], curve.p_fa[-1], curve.p_miss[-1]) == (1, 0, 0, 1)


@given(SCORES, SCORES)
def test_corners_are_the_points_at_distinct_target_scores(targets, nontargets):
    scores = order(targets, nontargets)
    misses, false_alarms = scores.corners
    thresholds = [*sorted(set(targets)), np.inf]
    assert [scores.corner_threshold(k) for k in range(len(thresholds))] == thresholds
    assert list(zip(misses, false_alarms, strict=True)) == [scores.counts(threshold) for threshold in thresholds]


@given(SCORES, SCORES, st.integers(-5, 5))
def test_neighbours_of_a_threshold_are_scores(targets, nontargets, threshold):
    scores, every = order(targets, nontargets), targets + nontargets
    assert scores.previous(threshold) == max((s for s in every if s < threshold), default=-np.inf)
    assert scores.following(threshold) == min((s for s in every if s > threshold), default=np.inf)


def test_mask_and_two_lists_are_the_same_input():
    scores, mask = np.array([3.0, 0.0, 1.0, 2.0]), np.array([True, False, True, False])
    by_mask, by_lists = order(scores, mask), order([3.0, 1.0], [0.0, 2.0])
    assert list(by_mask.targets) == list(by_lists.targets) == [1, 3]
    assert list(by_mask.nontargets) == list(by_lists.nontargets) == [0, 2]
    assert order(by_mask) is by_mask


def test_input_is_left_as_it_was():
    targets, nontargets = np.array([3.0, 1.0]), np.array([2.0, 0.0])
    order(targets, nontargets)
    assert list(targets) == [3, 1] and list(nontargets) == [2, 0]


def test_float32_scores_meet_a_float64_threshold_exactly():
    tenth = np.float32(0.1)  # 0.100000001490116 > 0.1
    scores = order(np.array([tenth]), np.array([tenth]))
    assert scores.targets.dtype == np.float32
    assert scores.counts(0.1) == (0, 1)
    assert scores.counts(float(tenth)) == (0, 1)
    assert scores.counts(0.1000000015) == (1, 0)
    assert scores.counts(1e300) == (1, 0) and scores.counts(-1e300) == (0, 1)


def test_integer_and_mixed_scores_are_not_rounded():
    assert order([16777217], np.array([16777216], np.float32)).targets[0] == 16777217


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_a_score_that_is_not_finite_is_an_error(bad, side):
    lists = [[1.0, 2.0, 3.0], [0.0, 1.0, 2.0]]
    lists[side][1] = bad
    with pytest.raises(InputError, match="1 of 3 (non-)?target scores are not finite"):
        order(*lists)


def test_one_class_is_an_error():
    with pytest.raises(InputError, match="no non-target trial"):
        order([1.0], [])
    with pytest.raises(InputError, match="no target trial"):
        order([1.0], np.array([False]))
    with pytest.raises(InputError, match="only one list"):
        order([1.0])


def test_wrong_shapes_and_types_are_errors():
    with pytest.raises(InputError, match="expected \\(2,\\)"):
        order([1.0, 2.0], np.array([True]))
    with pytest.raises(InputError, match="list of numbers"):
        order([[1.0]], [1.0])
    with pytest.raises(InputError, match="list of numbers"):
        order(["a"], [1.0])
