"""What every clustering promises, over the table: a new entry is tested at once."""

import random

import numpy as np
import pytest

from spkssl.cluster import CLUSTERERS, ClusterConfig, configs, make_clusterer, needs_number, takes_number
from spkssl.cluster.labels import canonical
from spkssl.cluster.pipeline import cluster
from spkssl.errors import InputError
from spkssl.metrics.clusters import ari

pytestmark = pytest.mark.parametrize("name", CLUSTERERS)


def blobs(seed=0, num_clusters=8, per_cluster=15, dim=16):
    rng = np.random.default_rng(seed)
    sizes = per_cluster + np.arange(num_clusters)
    truth = np.repeat(np.arange(num_clusters), sizes)
    x = 3 * rng.normal(size=(num_clusters, dim))[truth] + 0.4 * rng.normal(size=(len(truth), dim))
    return x.astype(np.float32), truth


def run(name, x, number=8, seed=3):
    algorithm = configs()[name]()
    clusterer = make_clusterer(algorithm, number if takes_number(algorithm) else None)
    return clusterer.fit_predict(x, np.random.default_rng(seed))


def test_name_of_the_config_is_that_of_the_table(name):
    assert configs()[name]().name == name


def test_blobs_are_recovered(name):
    x, truth = blobs()
    labels = run(name, x)
    kept = labels >= 0
    assert kept.mean() > 0.9
    assert ari(truth[kept], labels[kept]) > 0.9


def test_blobs_are_recovered_through_the_pipeline_when_the_number_is_not_given(name):
    x, truth = blobs()
    found = cluster(x, ClusterConfig(algorithm=configs()[name](), over_cluster=1.0), np.random.default_rng(0))
    kept = found.labels >= 0
    assert ari(truth[kept], found.labels[kept]) > 0.9
    assert (found.estimate is not None) == needs_number(configs()[name]())


def test_labels_are_canonical_int64(name):
    x, _ = blobs()
    labels = run(name, x)
    assert labels.shape == (len(x),) and labels.dtype == np.int64
    np.testing.assert_array_equal(labels, canonical(labels))
    assert set(labels[labels >= 0]) == set(range(labels.max() + 1))


def test_number_asked_for_is_the_number_found(name):
    if not takes_number(configs()[name]()):
        with pytest.raises(InputError, match="finds the number of clusters itself"):
            make_clusterer(configs()[name](), 5)
        return
    x, _ = blobs()
    for number in (2, 5, 8, 20):
        assert run(name, x, number).max() + 1 == number


def test_order_of_rows_does_not_matter(name):
    x, _ = blobs()
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_array_equal(run(name, x[order]), canonical(run(name, x)[order]))


def test_same_generator_gives_the_same_labels(name):
    x = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)  # no structure: every draw matters
    np.testing.assert_array_equal(run(name, x), run(name, x))


def test_double_and_strided_input_give_the_same_labels(name):
    x, _ = blobs()
    expected = run(name, x)
    np.testing.assert_array_equal(run(name, x.astype(np.float64)), expected)
    wide = np.zeros((2 * len(x), 2 * x.shape[1]), np.float32)
    wide[::2, ::2] = x
    np.testing.assert_array_equal(run(name, wide[::2, ::2]), expected)
    np.testing.assert_array_equal(run(name, np.asfortranarray(x)), expected)


def test_input_is_left_as_it_was(name):
    x, _ = blobs()
    before = x.copy()
    run(name, x)
    np.testing.assert_array_equal(x, before)


def test_constructor_only_stores(name):
    algorithm = configs()[name]()
    clusterer = make_clusterer(algorithm, 3 if takes_number(algorithm) else None)
    assert clusterer.config is algorithm and set(vars(clusterer)) == {"config", "num_clusters"}


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_fewer_rows_than_clusters(name, rows):
    x = np.random.default_rng(rows).normal(size=(rows, 4)).astype(np.float32)
    labels = run(name, x, 8)
    assert labels.shape == (rows,) and labels.min() >= -1 and labels.max() < rows


def test_duplicates_stay_together(name):
    x, truth = blobs(num_clusters=4)
    copies = np.repeat(x, 3, axis=0)
    labels = run(name, copies, 4).reshape(-1, 3)
    assert (labels == labels[:, :1]).all()
    if name != "hdbscan":  # copies are density: three of a kind are the densest clusters there are
        assert ari(truth, labels[:, 0]) > 0.9


def test_all_rows_alike(name):
    labels = run(name, np.ones((40, 4), np.float32), 3)
    assert labels.shape == (40,) and labels.min() >= -1 and labels.max() < 40


def test_global_randomness_is_not_touched(name):
    np.random.seed(0)
    random.seed(0)
    state, plain = np.random.get_state()[1].copy(), random.getstate()
    run(name, blobs()[0])
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert random.getstate() == plain


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_the_users_error(name, bad):
    x, _ = blobs()
    x[17, 2] = bad
    with pytest.raises(InputError, match="row 17 holds NaN or infinity"):
        run(name, x)
