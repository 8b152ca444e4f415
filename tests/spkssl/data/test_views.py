import numpy as np
import pytest
from scipy.stats import kstest

from spkssl.contract import ViewSpec, samples_of
from spkssl.data.views import Group, crop_starts, groups_of
from spkssl.errors import InputError


def starts(group, length, utterances=1000, short="repeat"):
    rows = np.arange(utterances)
    return crop_starts(group, np.full(utterances, length), rows, 0 * rows, 1, 0, short)


def test_disjoint_crops_share_no_sample_and_come_in_random_order():
    found = starts(Group("g", 180, 2, True), 500)
    assert found.min() >= 0 and found.max() <= 320
    assert (np.abs(found[:, 0] - found[:, 1]) * 160 >= samples_of(180)).all()
    assert abs((found[:, 0] < found[:, 1]).mean() - 0.5) < 0.06


@pytest.mark.parametrize("crops", [2, 3, 5])
def test_disjoint_crops_fit_exactly_where_the_utterance_just_holds_them(crops):
    found = np.sort(starts(Group("g", 50, crops, True), crops * 52 - 2), 1)
    assert (found == np.arange(crops) * 52).all()


def test_disjoint_crops_spread_out_where_they_do_not_fit():
    found = np.sort(starts(Group("g", 50, 3, True), 90), 1)
    assert (found == [0, 20, 40]).all()
    found = starts(Group("g", 50, 3, True), 30)
    assert found.min() >= 0 and found.max() < 30


def test_single_crops_are_uniform_over_all_places():
    found = starts(Group("g", 100, 1, False), 300, 5000)
    assert found.min() == 0 and found.max() == 200
    assert kstest((found[:, 0] + 0.5) / 201, "uniform").pvalue > 1e-3


def test_a_crop_as_long_as_the_utterance_starts_at_0():
    assert not starts(Group("g", 100, 1, False), 100).any()
    assert not starts(Group("g", 100, 1, False), 70, short="silence").any()
    assert starts(Group("g", 100, 1, False), 70).max() == 69


def test_each_crop_number_has_its_own_draw_whatever_else_is_drawn():
    one, three = starts(Group("g", 50, 1, False), 300), starts(Group("g", 50, 3, False), 300)
    assert (one[:, 0] == three[:, 0]).all()
    assert (three[:, 0] != three[:, 1]).mean() > 0.9


def test_kinds_of_a_group_share_the_place_that_fits_the_longest():
    groups = groups_of([ViewSpec("a", 200, group="x"), ViewSpec("b", 50, count=3, group="x"), ViewSpec("c", 50)])
    assert groups["a"] == groups["b"] == Group("x", 200, 3, False)
    assert groups["c"] == Group("c", 50, 1, False)


def test_wrong_views_are_refused():
    twice, too_few_numbers = (ViewSpec("a", 50), ViewSpec("a", 60)), (ViewSpec("a", 50, count=2, crops=(0,)),)
    for wrong in ((), twice, too_few_numbers, (ViewSpec("a", 0),)):
        with pytest.raises(InputError):
            groups_of(wrong)
