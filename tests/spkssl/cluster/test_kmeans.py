"""k-means by hand-made cases, and against scikit-learn's cost."""

import dataclasses

import numpy as np
import pytest
from sklearn.cluster import KMeans

from spkssl.cluster.kmeans import Config, Kmeans, best_of, lloyd
from spkssl.cluster.search import nearest
from spkssl.cluster.vectors import unit_rows
from spkssl.errors import InputError


def directions(*degrees):
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def degrees(x):
    return np.rad2deg(np.arctan2(x[:, 1], x[:, 0]))


def generator(seed=0):
    return np.random.default_rng(seed)


def test_spherical_kmeans_by_hand():
    x = directions(0, 10, 80, 90)
    fit = lloyd(x, directions(0, 80), Config(), generator())
    np.testing.assert_allclose(degrees(fit.centres), [5, 85], atol=1e-4)
    np.testing.assert_array_equal(fit.labels, [0, 0, 1, 1])
    assert 4 - fit.cost == pytest.approx(3.984779, abs=1e-6)


def test_scaling_the_rows_changes_nothing_in_spherical_kmeans():
    x = generator().normal(size=(100, 5)).astype(np.float32)
    scale = 2.0 ** generator(1).integers(-3, 4, (100, 1))  # powers of two: exact
    plain, scaled = (Kmeans(config=Config(), num_clusters=7).fit_predict(rows, generator(2)) for rows in (x, x * scale))
    np.testing.assert_array_equal(plain, scaled)


def test_empty_cluster_keeps_its_centre_when_told_to():
    fit = lloyd(directions(0, 10, 80, 90), directions(0, 80, 200), Config(empty="keep"), generator())
    np.testing.assert_allclose(degrees(fit.centres), [5, 85, -160], atol=1e-4)
    assert set(fit.labels) == {0, 1}


def test_empty_cluster_takes_half_of_another_by_default():
    fit = lloyd(directions(0, 10, 80, 90), directions(0, 80, 200), Config(), generator())
    assert set(fit.labels) == {0, 1, 2}


@pytest.mark.parametrize("metric, winner", [("inner_product", 0), ("euclidean", 1), ("cosine", 1)])
def test_inner_product_favours_long_centres(metric, winner):
    x, centres = np.array([[0.8, 0.6]], np.float32), np.array([[0.9, 0], [0.5, 0.5]], np.float32)
    label, cost = nearest(x, unit_rows(centres) if metric == "cosine" else centres, metric)
    assert label == [winner]
    expected = {"inner_product": -0.72, "euclidean": 0.10, "cosine": 1 - 0.98995}
    assert cost[0] == pytest.approx(expected[metric], abs=1e-5)


def test_inner_product_centres_are_plain_means():
    x = directions(0, 10, 80, 90)
    fit = lloyd(x, directions(0, 80), Config(metric="inner_product"), generator())
    np.testing.assert_allclose(np.linalg.norm(fit.centres, axis=1), np.cos(np.deg2rad(5)), rtol=1e-6)


def test_cost_is_as_low_as_that_of_scikit_learn():
    ours, theirs = [], []
    for seed in range(4):  # a single set may be lucky either way
        rng = generator(seed)
        x = (3 * rng.normal(size=(20, 8))[rng.integers(0, 20, 500)] + rng.normal(size=(500, 8))).astype(np.float32)
        fit = best_of(x, 20, Config(metric="euclidean", restarts=10), generator())
        assert fit.cost == pytest.approx(((x - fit.centres[fit.labels]) ** 2).sum(), rel=1e-4)
        ours.append(fit.cost)
        theirs.append(KMeans(20, n_init=10, random_state=0).fit(x).inertia_)
    assert sum(ours) <= 1.02 * sum(theirs)


def test_restart_of_the_lowest_cost_wins():
    x = generator().normal(size=(300, 6)).astype(np.float32)
    one = dataclasses.replace(Config(), init="random", restarts=1)
    rng = generator(5)
    costs = [best_of(x, 12, one, rng).cost for _ in range(4)]
    assert best_of(x, 12, dataclasses.replace(one, restarts=4), generator(5)).cost == min(costs) < max(costs)


def test_centres_may_come_from_a_part_of_the_rows():
    rng = generator()
    truth = np.repeat(np.arange(4), 500)
    x = (4 * rng.normal(size=(4, 8))[truth] + 0.3 * rng.normal(size=(2000, 8))).astype(np.float32)
    fit = best_of(x, 4, Config(points_per_centre=20), generator(1))
    assert len(fit.labels) == 2000 and len({(a, b) for a, b in zip(truth, fit.labels, strict=True)}) == 4


def test_row_of_zeros_has_no_direction():
    with pytest.raises(InputError, match="1 of 3 rows are zero, the first is row 1"):
        Kmeans(config=Config(), num_clusters=2).fit_predict(np.array([[1, 0], [0, 0], [0, 1]]), generator())
