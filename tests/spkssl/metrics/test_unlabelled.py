"""Quality without labels: sizes, centres, margins, stability."""

import numpy as np
import pytest

from spkssl.errors import InputError
from spkssl.metrics import unlabelled
from spkssl.metrics.unlabelled import centre_fit, size_histogram, stability


def blobs(n=60, k=4, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    label = np.arange(n) % k
    return (np.eye(8)[label] + noise * rng.standard_normal((n, 8))).astype(np.float32), label


def test_sizes_in_powers_of_two():
    found = size_histogram([0] * 1 + [1] * 2 + [2] * 3 + [3] * 4 + [4] * 8 + [9] * 1 + [-1] * 5)
    assert (found.n_clusters, found.n_left_out, found.n_singletons) == (6, 5, 2)
    assert (found.smallest, found.median, found.largest) == (1, 2.5, 8)
    assert list(found.histogram) == [2, 2, 1, 1]


def test_large_powers_of_two_start_their_bin():
    found = size_histogram(np.repeat([0, 1], [2**17, 2**17 - 1]))
    assert found.histogram[17] == 1 and found.histogram[16] == 1


def test_no_cluster_has_no_sizes():
    with pytest.raises(InputError, match="no assigned item"):
        size_histogram([-1, -1])


def test_fit_of_a_plane_example():
    degrees = np.deg2rad([0, 10, 80, 90])
    x = 3 * np.stack([np.cos(degrees), np.sin(degrees)], 1)  # centres at 5 and 85 degrees
    found = centre_fit(x, [0, 0, 1, 1])
    own, rival = np.cos(np.deg2rad(5)), np.cos(np.deg2rad([85, 75, 75, 85]))
    assert found.own == pytest.approx([own] * 4, abs=1e-6)
    assert found.rival == pytest.approx(rival, abs=1e-6)
    assert found.margin == pytest.approx((own - rival).mean(), abs=1e-6)
    assert found.silhouette == pytest.approx((1 - (1 - own) / (1 - rival)).mean(), abs=1e-5)
    assert found.share_misplaced == 0


def test_misplaced_items_show():
    x, label = blobs()
    right, wrong = centre_fit(x, label), centre_fit(x, np.where(np.arange(60) < 6, (label + 1) % 4, label))
    assert right.share_misplaced == 0 and wrong.share_misplaced == pytest.approx(0.1)
    assert wrong.silhouette < right.silhouette and wrong.margin < right.margin


def test_left_out_items_and_scale_do_not_matter_and_singletons_earn_nothing():
    x, label = blobs()
    label[label == 3] = -1
    found = centre_fit(x, label)
    assert len(found.own) == 45
    assert found.silhouette == pytest.approx(centre_fit(x[label >= 0] * 7, label[label >= 0] + 5).silhouette, abs=1e-5)
    assert list(centre_fit(x[:3], [0, 1, 2]).silhouette_values) == [0, 0, 0]


def test_blocks_do_not_change_the_fit(monkeypatch):
    x, label = blobs()
    whole = centre_fit(x, label)
    monkeypatch.setattr(unlabelled, "_BLOCK_CELLS", 4 * 7)
    parts = centre_fit(x, label)
    assert parts.own == pytest.approx(whole.own, abs=1e-6) and parts.rival == pytest.approx(whole.rival, abs=1e-6)


def test_fit_needs_two_clusters_labels_per_row_and_real_vectors():
    x, label = blobs()
    with pytest.raises(InputError, match="got 1 clusters"):
        centre_fit(x, np.zeros(60, int))
    with pytest.raises(InputError, match="one per row"):
        centre_fit(x, label[1:])
    x[3] = 0
    with pytest.raises(InputError, match="1 of 60 vectors are zero"):
        centre_fit(x, label)


def nearest_axis(x, rng):
    """A clusterer that always finds the blobs, under names it draws."""
    return rng.permutation(8)[np.argmax(x, 1)]


def test_a_clusterer_that_finds_the_blobs_is_stable():
    x, _ = blobs()
    found = stability(nearest_axis, x, np.random.default_rng(0), rounds=3)
    assert list(found.ari) == [1, 1, 1] and found.nmi == pytest.approx(1)


def test_a_clusterer_that_draws_lots_is_not_stable():
    x, _ = blobs(n=400)
    found = stability(lambda x, rng: rng.integers(4, size=len(x)), x, np.random.default_rng(0), rounds=4)
    assert np.abs(found.ari).max() < 0.1


def test_parts_have_the_asked_share_and_items_left_out_are_not_compared():
    x, _ = blobs(n=100)
    seen = []

    def with_noise(part, rng):
        seen.append(len(part))
        label = nearest_axis(part, rng)
        label[rng.random(len(part)) < 0.3] = -1
        return label

    assert list(stability(with_noise, x, np.random.default_rng(0), rounds=2, share=0.7).ari) == [1, 1]
    assert seen == [70] * 4


def test_senseless_rounds_and_shares_are_errors():
    x, _ = blobs()
    for arguments in ({"rounds": 0}, {"share": 0.5}, {"share": 1.1}):
        with pytest.raises(InputError, match="stability"):
            stability(nearest_axis, x, np.random.default_rng(0), **arguments)
