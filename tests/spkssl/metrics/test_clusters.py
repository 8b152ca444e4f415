"""Clusterings against classes: worked numbers, loops over pairs, sklearn, and limits."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn import metrics as sk

from spkssl.errors import InputError
from spkssl.metrics.clusters import (
    accuracy,
    ari,
    bcubed,
    cluster_averaged_purity,
    cluster_scores,
    cluster_summary,
    completeness,
    fowlkes_mallows,
    homogeneity,
    inverse_purity,
    mutual_information,
    nmi,
    pairwise,
    purity,
    v_measure,
)
from spkssl.metrics.contingency import contingency

CLASSES, CLUSTERS = [0, 0, 1, 1], [0, 0, 0, 1]
LABELS = st.integers(1, 25).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 5), min_size=n, max_size=n)] * 2))


def test_worked_example():
    close = {"abs": 5e-7}
    assert mutual_information(CLASSES, CLUSTERS) == pytest.approx(0.215762, **close)
    expected = {"arithmetic": 0.343711, "geometric": 0.345592, "max": 0.311278, "min": 0.383689}
    assert {name: nmi(CLASSES, CLUSTERS, name) for name in expected} == pytest.approx(expected, **close)
    assert homogeneity(CLASSES, CLUSTERS) == pytest.approx(0.311278, **close)
    assert completeness(CLASSES, CLUSTERS) == pytest.approx(0.383689, **close)
    assert ari(CLASSES, CLUSTERS) == 0
    assert pairwise(CLASSES, CLUSTERS) == pytest.approx((1 / 3, 1 / 2, 0.4))
    assert fowlkes_mallows(CLASSES, CLUSTERS) == pytest.approx(0.408248, **close)
    assert purity(CLASSES, CLUSTERS) == 0.75
    assert cluster_averaged_purity(CLASSES, CLUSTERS) == pytest.approx(0.833333, **close)
    assert accuracy(CLASSES, CLUSTERS) == 0.75
    assert bcubed(CLASSES, CLUSTERS) == pytest.approx((0.666667, 0.75, 0.705882), **close)


def test_three_clusters_of_two_classes():
    classes, clusters = [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]
    close = {"abs": 5e-7}
    assert nmi(classes, clusters) == pytest.approx(0.515804, **close)
    assert accuracy(classes, clusters) == pytest.approx(0.666667, **close)
    assert cluster_averaged_purity(classes, clusters) == pytest.approx(0.833333, **close)
    assert purity(classes, clusters) == pytest.approx(5 / 6)


@given(LABELS)
def test_scores_equal_sklearn(pair):
    classes, clusters = pair
    assert mutual_information(*pair) == pytest.approx(sk.mutual_info_score(*pair), abs=1e-12)
    assert nmi(*pair) == pytest.approx(sk.normalized_mutual_info_score(*pair), abs=1e-9)
    measures = (homogeneity(*pair), completeness(*pair), v_measure(*pair))
    assert measures == pytest.approx(sk.homogeneity_completeness_v_measure(*pair), abs=1e-9)
    assert ari(*pair) == pytest.approx(sk.adjusted_rand_score(*pair), abs=1e-12)
    table = sk.cluster.contingency_matrix(*pair)
    rows, columns = linear_sum_assignment(-table)
    assert accuracy(*pair) == pytest.approx(table[rows, columns].sum() / len(classes))
    assert purity(*pair) == pytest.approx(table.max(0).sum() / len(classes))
    assert cluster_averaged_purity(*pair) == pytest.approx((table.max(0) / table.sum(0)).mean())
    assert v_measure(*pair) == pytest.approx(nmi(*pair), abs=1e-9)


@given(LABELS)
def test_pairs_and_items_equal_loops(pair):
    classes, clusters = map(np.array, pair)
    in_class, in_cluster, both = 0, 0, 0
    for i, j in combinations(range(len(classes)), 2):
        in_class += classes[i] == classes[j]
        in_cluster += clusters[i] == clusters[j]
        both += classes[i] == classes[j] and clusters[i] == clusters[j]
    assert pairwise(*pair).precision == (both / in_cluster if in_cluster else 1)
    assert pairwise(*pair).recall == (both / in_class if in_class else 1)
    precision = [(classes[clusters == k] == c).mean() for c, k in zip(classes, clusters, strict=True)]
    recall = [(clusters[classes == c] == k).mean() for c, k in zip(classes, clusters, strict=True)]
    assert bcubed(*pair)[:2] == pytest.approx((np.mean(precision), np.mean(recall)))


@given(LABELS, st.permutations(range(6)), st.randoms(use_true_random=False))
def test_names_of_clusters_and_order_of_items_do_not_matter(pair, renamed, random):
    before = cluster_scores(*pair)
    items = list(zip(*pair, strict=True))
    random.shuffle(items)
    classes, clusters = zip(*items, strict=True)
    after = cluster_scores([f"speaker{c}" for c in classes], [10 * renamed[k] for k in clusters])
    assert [after.nmi, after.ari, after.purity, after.inverse_purity, after.accuracy, *after.bcubed] == pytest.approx(
        [before.nmi, before.ari, before.purity, before.inverse_purity, before.accuracy, *before.bcubed]
    )
    assert after.pairwise == before.pairwise


@given(LABELS)
def test_roles_swap(pair):
    swapped = pair[::-1]
    assert inverse_purity(*pair) == purity(*swapped)
    assert homogeneity(*pair) == pytest.approx(completeness(*swapped))
    assert pairwise(*pair).precision == pairwise(*swapped).recall
    assert bcubed(*pair).precision == pytest.approx(bcubed(*swapped).recall)
    assert (ari(*pair), accuracy(*pair)) == (ari(*swapped), pytest.approx(accuracy(*swapped)))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=25))
def test_identical_partitions_under_relabelling_score_one(classes):
    found = cluster_scores(classes, [7 - c for c in classes])
    assert [found.nmi, found.homogeneity, found.completeness] == pytest.approx([1, 1, 1])
    assert (found.ari, found.purity, found.inverse_purity, found.accuracy) == (1, 1, 1, 1)
    assert found.pairwise == (1, 1, 1) and found.bcubed == pytest.approx((1, 1, 1))


def test_one_big_cluster():
    found = cluster_scores([0, 0, 1, 1, 2, 2], [0] * 6)
    assert (found.nmi, found.ari, found.pairwise.recall, found.bcubed.recall) == (pytest.approx(0), 0, 1, 1)
    assert found.purity == found.accuracy == pytest.approx(1 / 3)


def test_matching_equals_the_dense_one_on_a_larger_table():
    rng = np.random.default_rng(0)
    for n_classes, n_clusters in ((60, 100), (100, 60)):
        classes, clusters = rng.integers(n_classes, size=4000), rng.integers(n_clusters, size=4000)
        table = sk.cluster.contingency_matrix(classes, clusters)
        rows, columns = linear_sum_assignment(-table)
        assert accuracy(classes, clusters) == pytest.approx(table[rows, columns].sum() / 4000)


def test_a_million_items_in_ten_thousand_clusters_stay_sparse():
    rng = np.random.default_rng(0)
    classes = rng.integers(6000, size=1_100_000)
    clusters = np.where(rng.random(len(classes)) < 0.6, classes, rng.integers(10_000, size=len(classes)))
    table = contingency(classes, clusters)
    assert len(table.counts) < 500_000
    found = cluster_scores(table)
    assert found.n_items == 1_100_000 and found.n_clusters == 10_000
    # About 0.6 + 0.4 / 10000 of the items sit where their class is matched.
    assert found.accuracy == pytest.approx(0.6, abs=0.01)
    assert 0 < found.ari < found.pairwise.f + 1e-3 < 1  # chance agrees on almost no pair


def test_counts_beyond_32_bits_do_not_overflow():
    half = 200_000
    classes = np.repeat([0, 1], half)
    assert pairwise(classes, classes) == (1, 1, 1)
    assert ari(classes, np.zeros(2 * half, int)) == 0


def test_left_out_items_are_counted_and_scored_both_ways():
    found = cluster_summary([0, 0, 1, 1, 1], [0, 0, 1, -1, -1])
    assert found.coverage == 0.6
    assert (found.assigned.n_items, found.assigned.ari) == (3, 1)
    assert found.with_singletons == cluster_scores([0, 0, 1, 1, 1], [0, 0, 1, 2, 3])
    assert found.with_singletons.pairwise.recall == pytest.approx(1 / 4)


def test_summary_of_a_whole_clustering_and_of_none():
    whole = cluster_summary(CLASSES, CLUSTERS)
    assert whole.coverage == 1 and whole.assigned == whole.with_singletons == cluster_scores(CLASSES, CLUSTERS)
    none = cluster_summary(CLASSES, [-1] * 4)
    assert none.coverage == 0 and none.assigned is None
    assert none.with_singletons == cluster_scores(CLASSES, [0, 1, 2, 3])


def test_wrong_labels_are_errors():
    with pytest.raises(InputError, match="1 of 2 items have no cluster"):
        nmi([0, 1], [0, -1])
    with pytest.raises(InputError, match="got 1 labels for 2 classes"):
        nmi([0, 1], [0])
    with pytest.raises(InputError, match="no assigned item"):
        contingency(np.array([], int), np.array([], int))
    with pytest.raises(InputError, match="list of labels"):
        nmi([0, 1], [0.5, 1.0])
    with pytest.raises(InputError, match="list of labels"):
        nmi([0, 1])
    with pytest.raises(InputError, match="unknown name 'mean'"):
        nmi([0, 1], [0, 1], "mean")
