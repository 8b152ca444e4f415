import numpy as np
import pytest

from spkssl.backend.class_stats import stats_of, stats_of_blocks
from spkssl.backend.lda import compute_lda, compute_whitening
from spkssl.errors import InputError

X = np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 3.0], [1.0, 5.0]])
LABELS = np.array([0, 0, 1, 1])


def test_lda_of_two_classes():
    stats = stats_of(X, LABELS)
    np.testing.assert_allclose(stats.mean, [1, 2])
    np.testing.assert_allclose(stats.total / 4, np.diag([0.5, 4.5]), atol=1e-15)
    np.testing.assert_allclose(stats.between / 4, np.diag([0, 4]), atol=1e-15)
    np.testing.assert_allclose(stats.within / 4, 0.5 * np.eye(2), atol=1e-15)
    affine, ratios = compute_lda(stats, 1)
    row = affine.matrix[0] * np.sign(affine.matrix[0, 1])
    np.testing.assert_allclose(row, [0, np.sqrt(2), -2.828427], atol=1e-6)
    assert ratios == pytest.approx([8])


def test_lda_makes_the_normalised_covariance_the_identity():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 12, 400)
    x = (rng.normal(size=(12, 6)) * 3)[labels] + rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6))
    affine, ratios = compute_lda(stats_of(x, labels), 6, 0.3)
    after = stats_of(x, labels, affine)
    np.testing.assert_allclose((after.within + 0.3 * after.between) / 400, np.eye(6), atol=1e-9)
    np.testing.assert_allclose(after.between / 400, np.diag(ratios), atol=1e-9)
    np.testing.assert_allclose(after.mean, 0, atol=1e-10)


def test_whitening_makes_the_total_covariance_the_identity():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)) + 100
    labels = rng.integers(0, 3, 300)
    affine, s = compute_whitening(stats_of(x, labels), 5)
    np.testing.assert_allclose(stats_of(x, labels, affine).total / 300, np.eye(5), atol=1e-8)
    assert (np.diff(s) < 0).all()
    kept, _ = compute_whitening(stats_of(x, labels), 2)
    np.testing.assert_allclose(kept.matrix, affine.matrix[:2])


@pytest.mark.parametrize(
    ("x", "labels", "dim", "message"),
    [
        (X[:2], LABELS[:2], 1, "2 labelled embeddings are too few"),
        (X, np.arange(4), 1, "every class has one embedding"),
        (X, LABELS, 3, "cannot keep 3 dimensions of 2"),
    ],
)
def test_lda_says_what_it_needs(x, labels, dim, message):
    with pytest.raises(InputError, match=message):
        compute_lda(stats_of(x, labels), dim)


def test_statistics_of_a_stream_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(500, 4)) + 1e4, rng.integers(-1, 9, 500)
    labels[labels == 5] = 6  # a class nobody has is dropped
    parts = [(x[i : i + 77].astype(np.float32), labels[i : i + 77]) for i in range(0, 500, 77)]
    streamed = stats_of_blocks(parts, 9)
    kept, y = x.astype(np.float32).astype(np.float64)[labels >= 0], labels[labels >= 0]
    means = np.array([kept[y == k].mean(axis=0) for k in np.unique(y)])
    within = sum((kept[y == k] - kept[y == k].mean(0)).T @ (kept[y == k] - kept[y == k].mean(0)) for k in np.unique(y))
    np.testing.assert_allclose(streamed.class_means, means, rtol=1e-12)
    np.testing.assert_allclose(streamed.within, within, atol=1e-7)
    assert streamed.counts.tolist() == [np.sum(y == k) for k in np.unique(y)]
