import warnings

import numpy as np
import pytest

from spkssl.backend.asnorm import AsNorm, Config
from spkssl.backend.cohort import centres, drawn, moments, require_disjoint, statistics
from spkssl.backend.snorm import Config as SNormConfig
from spkssl.backend.snorm import SNorm
from spkssl.errors import InputError

E, T = np.array([[1.0, 0.0]]), np.array([[0.6, 0.8]])
COHORT = np.array([[0.0, 1.0], [0.8, 0.6], [1.0, 0.0]])


def asnorm(**settings):
    backend = AsNorm(Config(subtract_mean=False, cohort="utterances", **settings))
    return backend.fit(COHORT)


def snorm(**settings):
    return SNorm(SNormConfig(subtract_mean=False, cohort="utterances", **settings)).fit(COHORT)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, -3.25), ({"deviation": "unbiased"}, -2.298097), ({"type": 2}, -0.25)],
)
def test_asnorm_of_two_highest(settings, expected):
    assert asnorm(top_k=2, **settings).score(E, T) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("settings", "expected"), [({}, 2.5), ({"deviation": "unbiased"}, 1.767767)])
def test_asnorm_of_a_score_of_one_half_over_two_known_ones_a_side(settings, expected):
    """The cohort's cosines are 0.3 and 0.1 with the enrolment, 0.4 and 0.2 with the test: (3 + 2) / 2."""
    pair = np.array([[1, 0, 0, 0], [0.5, 0.75**0.5, 0, 0]])
    cohort = np.zeros((2, 4))
    cohort[:, :2] = np.linalg.solve(pair[:, :2], [[0.3, 0.1], [0.4, 0.2]]).T
    cohort[[0, 1], [2, 3]] = np.sqrt(1 - (cohort**2).sum(axis=1))
    backend = AsNorm(Config(subtract_mean=False, cohort="utterances", top_k=2, **settings)).fit(cohort)
    assert backend.score(pair[:1], pair[1:]) == pytest.approx(expected, abs=1e-6)


def test_snorm_over_the_whole_cohort():
    assert snorm().score(E, T) == pytest.approx(-0.633750, abs=1e-6)


def test_z_norm_over_two_highest_is_minus_three():
    side = asnorm(top_k=2).project(E)
    assert (0.6 - side.cohort.mean[0]) / side.cohort.std[0] == pytest.approx(-3)


def test_snorm_is_the_mean_of_z_and_t_norm():
    z, t = (snorm(sides=side).score(E, T) for side in ("enrol", "test"))
    assert snorm().score(E, T) == pytest.approx((z + t) / 2)


@pytest.mark.parametrize("kind", [1, 2])
def test_asnorm_with_the_whole_cohort_is_snorm(kind):
    assert asnorm(top_k=3, type=kind).score(E, T) == pytest.approx(snorm().score(E, T), rel=1e-12)


def test_top_k_beyond_the_cohort_is_clipped_with_a_warning():
    with pytest.warns(UserWarning, match="clipped to the cohort of 3"):
        assert asnorm(top_k=300).score(E, T) == pytest.approx(snorm().score(E, T), rel=1e-12)


@pytest.mark.parametrize("kind", [1, 2])
def test_cohort_of_one_takes_the_floor_with_a_warning_and_stays_finite(kind):
    backend = AsNorm(Config(subtract_mean=False, cohort="utterances", top_k=1, type=kind)).fit(COHORT[:1])
    with pytest.warns(UserWarning, match="1 of 1 deviations floored"):
        assert np.isfinite(backend.score(E, T)).all()


@pytest.mark.parametrize("deviation", ["population", "unbiased"])
def test_scaling_and_shifting_all_scores_changes_nothing(deviation):
    cohort, score = np.random.default_rng(0).normal(size=(2, 9)), 0.3
    mean, std = moments(cohort, deviation)
    scaled_mean, scaled_std = moments(7 * cohort - 2, deviation)
    np.testing.assert_allclose((7 * score - 2 - scaled_mean) / scaled_std, (score - mean) / std)


def random_task(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(300, 16)).astype(dtype), rng.normal(size=(40, 16)).astype(dtype), rng


@pytest.mark.parametrize("kind", [1, 2])
def test_asnorm_is_the_double_loop(kind):
    train, x, rng = random_task()
    backend = AsNorm(Config(cohort="utterances", top_k=20, type=kind)).fit(train)
    i, j = rng.integers(0, 40, 100), rng.integers(0, 40, 100)
    side = backend.project(x)
    unit = (x - train.mean(0)) / np.linalg.norm(x - train.mean(0), axis=1, keepdims=True)
    cohort = unit @ backend.cohort.T
    expected = []
    for a, b in zip(i, j, strict=True):
        near_a, near_b = np.argsort(-cohort[a])[:20], np.argsort(-cohort[b])[:20]
        own = (near_a, near_b) if kind == 1 else (near_b, near_a)
        s = unit[a] @ unit[b]
        halves = [(s - cohort[r][n].mean()) / cohort[r][n].std() for r, n in zip((a, b), own, strict=True)]
        expected.append(sum(halves) / 2)
    np.testing.assert_allclose(backend.pairs(side, side, i, j), expected, atol=1e-10)


def test_statistics_do_not_depend_on_the_size_of_blocks(monkeypatch):
    train, x, _ = random_task()
    whole = statistics(x, train, 50)
    monkeypatch.setattr("spkssl.backend.cohort._BLOCK_BYTES", 3 * 8 * len(train))
    blocked = statistics(x, train, 50)
    np.testing.assert_allclose(blocked.mean, whole.mean, atol=1e-12)
    np.testing.assert_allclose(blocked.std, whole.std, atol=1e-12)


def test_statistics_do_not_depend_on_the_number_of_threads(monkeypatch):
    train, x, _ = random_task(dtype=np.float32)
    monkeypatch.setattr("spkssl.backend.cohort._threads", lambda: 1)
    one = statistics(x, train, 50)
    monkeypatch.setattr("spkssl.backend.cohort._threads", lambda: 2)
    two = statistics(x, train, 50)
    assert (one.mean == two.mean).all() and (one.std == two.std).all()


def test_float32_embeddings_give_the_scores_of_float64():
    train, x, _ = random_task()
    double = AsNorm(Config(cohort="utterances", top_k=50)).fit(train).score(x[:20], x[20:])
    single = AsNorm(Config(cohort="utterances", top_k=50)).fit(train.astype(np.float32))
    np.testing.assert_allclose(single.score(x[:20].astype(np.float32), x[20:].astype(np.float32)), double, atol=1e-4)


def test_cohort_of_centres_averages_raw_vectors_and_leaves_out_minus_one():
    x = np.array([[1.0, 0.0], [0.0, 3.0], [5.0, 5.0], [9.0, 9.0]])
    np.testing.assert_allclose(centres(x, np.array([4, 4, -1, 0])), [[9, 9], [0.5, 1.5]])


def test_cohort_of_centres_without_labels_says_what_to_do():
    with pytest.raises(InputError, match="needs labels"):
        AsNorm().fit(COHORT)


def test_cohort_where_all_are_left_out_is_an_error():
    with pytest.raises(InputError, match="all are left out"):
        AsNorm().fit(COHORT, np.full(3, -1))


def test_drawn_utterances_are_distinct_and_repeatable():
    x = np.arange(100.0)[:, None]
    first, again = (drawn(x, 30, np.random.default_rng(1)) for _ in range(2))
    assert len(np.unique(first)) == 30 and (first == again).all()
    assert drawn(x, 200, np.random.default_rng(1)) is x


def test_cohort_that_is_also_evaluated_is_an_error():
    require_disjoint(["a", "b"], ["c"], "train")
    with pytest.raises(InputError, match="train: in the cohort and in the trials: b"):
        require_disjoint(["a", "b"], ["b", "c", "b"], "train")


def test_each_embedding_meets_the_cohort_once_however_many_trials_it_is_in():
    train, x, rng = random_task()
    backend = AsNorm(Config(cohort="utterances", top_k=20)).fit(train)
    side = backend.project(x)
    backend.cohort = None  # scoring trials needs it no more
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(backend.pairs(side, side, rng.integers(0, 40, 5000), rng.integers(0, 40, 5000))).all()
