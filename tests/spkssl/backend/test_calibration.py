import numpy as np
import pytest

from spkssl.backend.calibration import fit_calibration, load_calibration
from spkssl.backend.quality import measure_names, pair_measures
from spkssl.errors import InputError
from spkssl.metrics.cllr import cllr, min_cllr
from spkssl.metrics.eer import eer

SCORES = np.array([1.0, 1, 1, -1, 1, -1, -1, -1])
TARGET = np.arange(8) < 4


def gaussian_llrs(n=20000, seed=0):
    """Log-likelihood ratios that are calibrated by construction: N(+-m/2, m)."""
    rng = np.random.default_rng(seed)
    target = rng.random(n) < 0.3
    return np.where(target, 2.0, -2.0) + 2 * rng.normal(size=n), target


def test_optimum_of_two_valued_scores():
    found = fit_calibration(SCORES, TARGET)
    assert found.weights[0] == pytest.approx(np.log(3), abs=1e-5)  # the ridge moves it by 6e-6
    assert found.bias == pytest.approx(0, abs=1e-8)
    exact = fit_calibration(SCORES, TARGET, ridge=0.0)
    assert exact.weights[0] == pytest.approx(1.098612, abs=1e-6)
    calibrated = exact(SCORES)
    assert cllr(calibrated, TARGET) == pytest.approx(0.811278, abs=1e-6)
    assert min_cllr(calibrated, TARGET) == pytest.approx(0.811278, abs=1e-6)


def test_shifted_scores_move_the_bias_only():
    plain, shifted = fit_calibration(SCORES, TARGET), fit_calibration(SCORES + 10, TARGET)
    assert shifted.weights[0] == pytest.approx(plain.weights[0])
    assert shifted.bias == pytest.approx(plain.bias - 10 * plain.weights[0])
    assert cllr(shifted(SCORES + 10), TARGET) == pytest.approx(cllr(plain(SCORES), TARGET))


@pytest.mark.parametrize("prior", [0.5, 0.1])
def test_calibrating_calibrated_ratios_changes_little(prior):
    scores, target = gaussian_llrs()
    found = fit_calibration(scores, target, prior=prior)
    assert found.weights[0] == pytest.approx(1, abs=0.05)
    assert found.bias == pytest.approx(0, abs=0.1)


def test_equal_error_rate_is_unchanged_by_one_feature():
    scores, target = gaussian_llrs(2000)
    calibrated = fit_calibration(3 * scores + 5, target)(3 * scores + 5)
    assert eer(calibrated, target).rate == eer(scores, target).rate


def test_separable_scores_keep_a_finite_weight():
    found = fit_calibration(np.array([1.0, 2, -1, -2]), np.array([True, True, False, False]))
    assert 1 < found.weights[0] < 1e6
    assert np.isfinite(found.bias)


def test_gradient_vanishes_at_the_optimum_with_quality_measures():
    rng = np.random.default_rng(1)
    scores, target = gaussian_llrs(5000)
    seconds = rng.uniform(1, 30, (2, 5000))
    f = np.column_stack([scores, pair_measures(*seconds, cap=20)])
    found = fit_calibration(f, target, names=("score", *measure_names("duration")))
    slope = 1 / (1 + np.exp(-found(f))) - target
    weight = np.where(target, 0.5 / target.sum(), 0.5 / (~target).sum())
    assert np.abs(f.T @ (weight * slope) + 1e-6 * found.weights).max() < 1e-7
    assert np.abs((weight * slope).sum()) < 1e-7


def test_quality_measures_that_tell_something_lower_the_cost():
    rng = np.random.default_rng(2)
    scores, target = gaussian_llrs(5000)
    seconds = rng.uniform(1, 20, 5000)
    shifted = scores + 0.3 * seconds  # long files score higher, whoever speaks
    f = np.column_stack([shifted, pair_measures(seconds, seconds)])
    alone = cllr(fit_calibration(shifted, target)(shifted), target)
    together = cllr(fit_calibration(f, target, names=("score", *measure_names("duration")))(f), target)
    assert together < alone - 0.02


def test_pair_measures_cap_and_order():
    found = pair_measures(np.array([4.0, 30.0]), np.array([8.0, 10.0]), cap=20)
    np.testing.assert_allclose(found, [[4, 8, 4, 2], [10, 20, 10, 2]])
    assert measure_names("norm") == ("norm_min", "norm_max", "norm_difference", "norm_ratio")


def test_calibration_round_trips(tmp_path):
    found = fit_calibration(SCORES, TARGET)
    found.save(tmp_path / "calibration.json")
    again = load_calibration(tmp_path / "calibration.json")
    assert (again(SCORES) == found(SCORES)).all() and again.names == ("score",)


@pytest.mark.parametrize(
    ("scores", "target", "settings", "message"),
    [
        (SCORES, np.ones(8, bool), {}, "all of one class"),
        (np.where(TARGET, np.nan, SCORES), TARGET, {}, "NaN"),
        (SCORES, TARGET, {"prior": 1.0}, "prior 1.0 is outside"),
        (np.ones((8, 2)), TARGET, {}, "expected 1 features"),
    ],
)
def test_unusable_data_is_an_error(scores, target, settings, message):
    with pytest.raises(InputError, match=message):
        fit_calibration(scores, target, **settings)


@pytest.mark.parametrize("content", ["", "[]", '{"weights": [1]}'])
def test_file_that_is_no_calibration_is_an_error(tmp_path, content):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(InputError, match="is not a calibration"):
        load_calibration(tmp_path / "c.json")
