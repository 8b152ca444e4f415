"""DET points and thresholds that hold a false-alarm rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkssl.errors import InputError
from spkssl.metrics.det import TICKS, det_points, probit, threshold_at_far
from spkssl.metrics.staircase import staircase

SCORES = st.lists(st.integers(-4, 4), min_size=1, max_size=12)


@given(SCORES, SCORES)
def test_turning_points_draw_the_whole_staircase(targets, nontargets):
    curve, det = staircase(targets, nontargets), det_points(targets, nontargets)
    kept = np.isin(curve.threshold, det.threshold)
    assert list(curve.p_fa[kept]) == list(det.p_fa) and list(curve.p_miss[kept]) == list(det.p_miss)
    assert kept[0] and kept[-1]
    for i in np.flatnonzero(~kept):
        before, after = np.flatnonzero(kept[:i])[-1], i + 1 + np.flatnonzero(kept[i + 1 :])[0]
        upright = curve.p_fa[before] == curve.p_fa[i] == curve.p_fa[after]
        level = curve.p_miss[before] == curve.p_miss[i] == curve.p_miss[after]
        assert upright or level


@given(st.lists(st.integers(0, 100), min_size=2, max_size=20, unique=True), st.integers(1, 19))
def test_swapping_classes_and_negating_scores_mirrors_the_curve(scores, cut):
    cut = min(cut, len(scores) - 1)
    targets, nontargets = scores[:cut], scores[cut:]
    det, mirrored = det_points(targets, nontargets), det_points([-n for n in nontargets], [-t for t in targets])
    assert det.p_fa == pytest.approx(mirrored.p_miss[::-1])
    assert det.x == pytest.approx(mirrored.y[::-1]) and det.y == pytest.approx(mirrored.x[::-1])


def test_rates_of_zero_and_one_stay_on_the_paper():
    assert probit([0, 0.5, 1], 10) == pytest.approx([-1.644854, 0, 1.644854], abs=1e-6)  # 1 / 20 and 19 / 20
    det = det_points([1, 2, 3], [0, 1.5])
    assert np.isfinite(det.x).all() and np.isfinite(det.y).all()
    assert det.y[0] == pytest.approx(probit(1 / 6, 100)) and det.x[0] == pytest.approx(probit(3 / 4, 100))


def test_a_limit_thins_the_curve_and_keeps_its_ends():
    rng = np.random.default_rng(0)
    targets, nontargets = rng.standard_normal(5000) + 2, rng.standard_normal(5000)
    whole, thin = det_points(targets, nontargets), det_points(targets, nontargets, limit=50)
    assert 25 <= len(thin.x) <= 50 < len(whole.x)
    assert (thin.x[0], thin.y[0], thin.x[-1], thin.y[-1]) == (whole.x[0], whole.y[0], whole.x[-1], whole.y[-1])
    assert np.isin(thin.threshold, whole.threshold).all()
    with pytest.raises(InputError, match="at least 2"):
        det_points(targets, nontargets, limit=1)


def test_ticks_are_the_usual_rates():
    assert TICKS == pytest.approx((1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4))


@given(SCORES, SCORES, st.sampled_from([0, 0.001, 0.01, 0.1, 0.29, 0.5, 1]))
def test_threshold_at_far_is_the_lowest_that_holds_it(targets, nontargets, far):
    threshold, p_miss, p_fa = threshold_at_far(targets, nontargets, far)
    curve = staircase(targets, nontargets)
    i = np.argmax(curve.p_fa <= far)
    assert (threshold, p_miss, p_fa) == (curve.threshold[i], curve.p_miss[i], curve.p_fa[i])


def test_far_is_not_lost_to_rounding():
    assert threshold_at_far([200], list(range(100)), far=0.29).p_fa == 0.29  # 0.29 * 100 = 28.999999999999996


def test_one_percent_and_one_in_a_thousand():
    nontargets = np.arange(1000.0)
    assert threshold_at_far([5000, 995], nontargets) == (990, 0, 0.01)
    assert threshold_at_far([5000, 995], nontargets, 0.001) == (999, 0.5, 0.001)


def test_a_far_that_is_no_rate_is_an_error():
    with pytest.raises(InputError, match="between 0 and 1"):
        threshold_at_far([1], [0], far=1.5)
