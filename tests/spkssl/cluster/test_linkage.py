"""Trees from means and sizes against scipy's from all distances, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster
from scipy.cluster.hierarchy import linkage as scipy_linkage

from spkssl.cluster.ahc import Ahc, Config
from spkssl.cluster.linkage import cut, tree
from spkssl.cluster.vectors import unit_rows
from spkssl.metrics.clusters import ari


def directions(*degrees):
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def clusters(config, x, number=None):
    return int(Ahc(config=config, num_clusters=number).fit_predict(x, np.random.default_rng(0)).max()) + 1


def test_ward_by_hand():
    merges = tree(np.array([[0], [1], [5], [6]], np.float32), "ward")
    np.testing.assert_allclose(merges.height, [1, 1, 7.071068], rtol=1e-6)
    np.testing.assert_array_equal(cut(merges, 2), [0, 0, 1, 1])


@pytest.mark.parametrize("threshold, expected", [(0.4, 2), (-1.0, 1)])
def test_average_linkage_cut_by_hand(threshold, expected):
    assert clusters(Config(threshold=threshold), directions(0, 10, 90)) == expected


@pytest.mark.parametrize("threshold, expected", [(0.9, 2), (0.9999, 4), (-1.0, 1)])
def test_average_linkage_cut_of_two_pairs(threshold, expected):
    assert clusters(Config(threshold=threshold), directions(0, 5, 90, 95)) == expected


@pytest.mark.parametrize("linkage, metric", [("ward", "euclidean"), ("average", "cosine")])
@given(seed=st.integers(0, 10_000), rows=st.integers(2, 60))
@settings(max_examples=30, deadline=None)
def test_tree_is_that_of_scipy(linkage, metric, seed, rows):
    x = unit_rows(np.random.default_rng(seed).normal(size=(rows, 5)).astype(np.float32))
    ours, theirs = tree(x, linkage), scipy_linkage(x.astype(np.float64), linkage, metric)
    np.testing.assert_allclose(ours.height, theirs[:, 2], atol=2e-3)  # float32: cosines near 1 lose half their digits
    for number in {2, max(2, rows // 3)} - {rows}:
        gap = theirs[rows - number, 2] - theirs[rows - number - 1, 2]
        if gap > 1e-3:  # otherwise which of two equal merges comes first is open
            assert ari(cut(ours, number), fcluster(theirs, number, "maxclust")) == 1


def test_a_thousand_rows_agree_with_scipy():
    x = np.random.default_rng(0).normal(size=(1000, 20)).astype(np.float32)
    ours, theirs = tree(x, "ward"), scipy_linkage(x.astype(np.float64), "ward")
    np.testing.assert_allclose(ours.height, theirs[:, 2], rtol=1e-4)
    assert ari(cut(ours, 50), fcluster(theirs, 50, "maxclust")) > 0.99


def test_sizes_stand_for_copies():
    rng = np.random.default_rng(0)
    x, sizes = rng.normal(size=(12, 3)).astype(np.float32), rng.integers(1, 5, 12)
    copies = tree(np.repeat(x, sizes, axis=0), "ward")
    np.testing.assert_allclose(tree(x, "ward", sizes).height, copies.height[-11:], rtol=1e-5)


def test_equal_rows_merge_at_zero():
    merges = tree(np.ones((9, 3), np.float32), "ward")
    np.testing.assert_array_equal(merges.height, np.zeros(8))
    assert len(np.unique(cut(merges, 4))) == 4


def test_single_row_is_a_tree_without_merges():
    np.testing.assert_array_equal(cut(tree(np.ones((1, 2), np.float32), "ward"), 3), [0])


def test_ahc_is_ward_for_a_number_and_average_for_a_threshold():
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    found = Ahc(config=Config(), num_clusters=7).fit_predict(x, np.random.default_rng(0))
    assert ari(found, fcluster(scipy_linkage(x, "ward"), 7, "maxclust")) == 1
    found = Ahc(config=Config(threshold=0.5), num_clusters=None).fit_predict(x, np.random.default_rng(0))
    assert ari(found, fcluster(scipy_linkage(x, "average", "cosine"), 0.5, "distance")) == 1


def test_too_many_rows_become_micro_clusters():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(5), 80)
    x = 4 * rng.normal(size=(5, 8))[truth] + 0.3 * rng.normal(size=(400, 8))
    for config in (Config(max_rows=100), Config(max_rows=100, weighted=True), Config(max_rows=100, linkage="average")):
        found = Ahc(config=config, num_clusters=5).fit_predict(x, np.random.default_rng(1))
        assert ari(truth, found) == 1


def test_threshold_needs_average_linkage():
    with pytest.raises(ValueError, match="threshold"):
        Config(linkage="ward", threshold=0.5)
