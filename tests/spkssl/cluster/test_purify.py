"""Who is left out of pseudo labels."""

import numpy as np
import pytest
from scipy.stats import norm

from spkssl.cluster.labels import canonical, count
from spkssl.cluster.purify import cap, drop_far, drop_small, drop_unsure, own_posterior


def test_small_clusters_are_left_out():
    np.testing.assert_array_equal(drop_small(np.array([0, 0, 0, 1, 1, 2, -1]), 2), [0, 0, 0, 1, 1, -1, -1])
    assert count(drop_small(np.array([0, 0, 1]), 3)) == 0
    np.testing.assert_array_equal(drop_small(np.array([-1, -1]), 1), [-1, -1])


def test_farthest_share_is_left_out():
    angle = np.deg2rad([0, 1, 2, 60, 90, 91, 92, 93, 94, 95])
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(drop_far(x, labels, 0.1), [1, 1, 1, -1, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(drop_far(x, labels, 0.0), labels)


def test_share_of_those_still_assigned_is_left_out():
    x = np.random.default_rng(0).normal(size=(50, 3))
    labels = canonical(np.r_[np.full(10, -1), np.zeros(25), np.ones(15)].astype(int))
    assert (drop_far(x, labels, 0.25) < 0).sum() == 20


def two_clouds():
    """Nine rows about 0, nine about 4, and one of the first in the middle."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, (9, 2)), rng.normal(4, 1, (9, 2)), [[2.4, 2.4]]]).astype(np.float32)
    return x, np.array([0] * 9 + [1] * 9 + [0])


def test_posterior_is_that_of_gaussians_whose_variance_leans_on_the_common_one():
    x, labels = two_clouds()
    means = np.stack([x[labels == k].mean(0) for k in (0, 1)])
    square = np.square(x - means[labels])
    common = square.mean(0)
    variance = np.stack([(square[labels == k].sum(0) + 10 * common) / ((labels == k).sum() + 10) for k in (0, 1)])
    density = norm.pdf(x[:, None], means, np.sqrt(variance)).prod(axis=2)  # (N, 2)
    expected = density[np.arange(len(x)), labels] / density.sum(axis=1)
    np.testing.assert_allclose(own_posterior(x, labels), expected, rtol=1e-4)


def test_those_between_two_clusters_are_left_out():
    x, labels = two_clouds()
    found = drop_unsure(x, labels, 0.9)
    assert found[-1] == -1 and (found[:-1] >= 0).all()
    np.testing.assert_array_equal(drop_unsure(x, labels, 0.0), labels)


def test_one_cluster_is_sure_of_itself_and_those_left_out_stay_so():
    x, labels = two_clouds()
    np.testing.assert_array_equal(drop_unsure(x, np.zeros(19, int), 0.99), np.zeros(19))
    out = np.where(np.arange(19) == 3, -1, labels)
    assert drop_unsure(x, canonical(out), 0.5)[3] == -1


def test_where_the_rows_lie_and_dimensions_without_spread_are_no_matter():
    x, labels = two_clouds()
    expected = own_posterior(x, labels)
    np.testing.assert_allclose(own_posterior(x + np.float32(300), labels), expected, atol=1e-3)
    flat = np.concatenate([x, np.full((len(x), 1), 0.5, np.float32)], axis=1)
    flat[::2, 2] += 1e-7
    np.testing.assert_allclose(own_posterior(flat, labels), expected, atol=1e-3)


def test_posteriors_of_far_away_rows_do_not_overflow():
    x = np.array([[0, 0], [0, 1], [1e4, 0], [1e4, 1]], np.float32)
    assert own_posterior(x, np.array([0, 0, 1, 1])).tolist() == [1.0] * 4
    assert own_posterior(x, np.array([0, 1, 0, 1])).min() >= 0


@pytest.mark.parametrize("most", [1, 3, 5])
def test_big_clusters_are_cut_at_random_to_the_cap(most):
    labels = np.array([0] * 6 + [1] * 3 + [-1] * 2)
    found = [cap(labels, most, np.random.default_rng(seed)) for seed in range(20)]
    for one in found:
        assert np.bincount(one[one >= 0]).tolist() == [most, min(most, 3)] and (one[-2:] == -1).all()
    assert len({tuple(one) for one in found}) > 3
    np.testing.assert_array_equal(cap(labels, 0, np.random.default_rng(0)), labels)
