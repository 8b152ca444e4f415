import numpy as np
import pytest
from scipy.stats import multivariate_normal

from spkssl.backend.class_stats import stats_of
from spkssl.backend.plda import Config, Plda
from spkssl.backend.plda_adapt import adapt, moments
from spkssl.backend.plda_em import train_plda
from spkssl.backend.plda_model import PldaModel, from_covariances, llr
from spkssl.errors import InputError

ONE = np.array([[1.0]])


def diagonal(*psi):
    return PldaModel(np.zeros(len(psi)), np.eye(len(psi)), np.array(psi, float))


def trained(classes, iterations):
    x = np.array([np.atleast_1d(v) for c in classes for v in c], float)
    labels = np.repeat(np.arange(len(classes)), [len(c) for c in classes])
    return train_plda(stats_of(x, labels), iterations)[0]


def test_one_em_iteration_in_one_dimension():
    model = trained([(0, 2), (4, 6)], 1)
    assert model.within[0, 0] == pytest.approx(16 / 9)
    assert model.between[0, 0] == pytest.approx(19 / 9)
    assert model.psi[0] == pytest.approx(1.1875)
    assert abs(model.transform[0, 0]) == pytest.approx(0.75)


def test_ten_em_iterations_in_one_dimension():
    model = trained([(0, 2), (4, 6)], 10)
    assert model.within[0, 0] == pytest.approx(2.001362, abs=1e-6)
    assert model.between[0, 0] == pytest.approx(2.997375, abs=1e-6)


def test_classes_of_different_size_weigh_the_same_in_the_mean():
    model = trained([(0, 2), (4, 6), (9,)], 1)
    assert model.mean[0] == pytest.approx(5)
    assert model.within[0, 0] == pytest.approx(2.677778, abs=1e-6)
    assert model.between[0, 0] == pytest.approx(4.092593, abs=1e-6)


@pytest.mark.parametrize(("n", "test", "expected"), [(1, 1, 0.310508), (2, 1, 0.411066), (1, -1, -0.356159)])
def test_llr_in_one_dimension(n, test, expected):
    assert llr(diagonal(1), ONE, test * ONE, n) == pytest.approx(expected, abs=1e-6)


def test_llr_of_equal_vectors_is_its_closed_form():
    assert llr(diagonal(1), ONE, ONE)[0] == pytest.approx(0.5 * np.log(4 / 3) + 1 / 6)


@pytest.mark.parametrize("second", [-7.0, 0.0, 3.0])
def test_dimension_without_between_variance_changes_nothing(second):
    assert llr(diagonal(1, 0), np.array([[1, second]]), np.array([[1, -second]])) == pytest.approx(0.310508, abs=1e-6)


def test_two_dimensions_against_the_dense_gaussians():
    model = trained([((0, 0), (2, 0)), ((1, 3), (1, 5)), ((4, 4), (5, 5), (6, 3))], 10)
    np.testing.assert_allclose(model.mean, [7 / 3, 8 / 3])
    np.testing.assert_allclose(model.psi, [6.738567, 0.892135], atol=1e-6)
    e, t = np.array([1.0, 1.0]), np.array([2.0, 1.0])
    score = llr(model, model.project(e[None]), model.project(t[None]))[0]
    B, W = model.between, model.within
    joint = multivariate_normal(np.tile(model.mean, 2), np.block([[B + W, B], [B, B + W]])).logpdf(np.append(e, t))
    alone = multivariate_normal(model.mean, B + W)
    assert score == pytest.approx(0.940490, abs=1e-6)
    assert score == pytest.approx(joint - alone.logpdf(e) - alone.logpdf(t))


def test_length_factor_depends_on_the_number_of_utterances():
    u = np.array([[2.0, 1.0]])
    assert diagonal(3, 0).length_factor(u, 1) == pytest.approx(1.0)
    assert diagonal(3, 0).length_factor(u, 2) == pytest.approx(0.797724, abs=1e-6)
    assert diagonal(3, 0).length_factor(u, simple=True) == pytest.approx(0.632456, abs=1e-6)


def test_smoothing_moves_between_variance_into_within():
    smooth = diagonal(2).smooth(0.1)
    assert smooth.psi[0] == pytest.approx(1.666667, abs=1e-6)
    assert smooth.transform[0, 0] == pytest.approx(0.912871, abs=1e-6)
    with pytest.raises(InputError, match="outside 0..1"):
        diagonal(2).smooth(1.1)


def test_adaptation_in_one_dimension():
    mean, covariance = moments(np.array([[-1.0], [3.0]]))
    assert (mean[0], covariance[0, 0]) == (1, 4)
    adapted = adapt(diagonal(1), mean, covariance)
    assert adapted.within[0, 0] == pytest.approx(1.9)
    assert adapted.between[0, 0] == pytest.approx(3.1)
    assert adapted.psi[0] == pytest.approx(1.631579, abs=1e-6)
    assert abs(adapted.transform[0, 0]) == pytest.approx(0.725476, abs=1e-6)
    assert adapted.mean[0] == 1
    assert adapted.offset[0] == pytest.approx(-adapted.transform[0, 0])  # recomputed, not the old one


def test_adaptation_leaves_directions_of_little_variance_alone():
    model = from_covariances(np.zeros(3), np.diag([1.0, 2.0, 3.0]), np.diag([4.0, 1.0, 0.5]))
    adapted = adapt(model, np.zeros(3), 0.5 * (model.within + model.between))
    np.testing.assert_allclose(adapted.within, model.within, atol=1e-12)
    np.testing.assert_allclose(adapted.between, model.between, atol=1e-12)


def blobs(seed=0, num_classes=30, per_class=8, dim=6):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), per_class)
    mixing = rng.normal(size=(dim, dim))
    return 3 * rng.normal(size=(num_classes, dim))[labels] + rng.normal(size=(len(labels), dim)) @ mixing, labels


def test_diagonalisation_makes_within_identity_and_between_diagonal():
    model = train_plda(stats_of(*blobs()))[0]
    np.testing.assert_allclose(model.transform @ model.within @ model.transform.T, np.eye(6), atol=1e-10)
    np.testing.assert_allclose(model.transform @ model.between @ model.transform.T, np.diag(model.psi), atol=1e-10)
    assert (np.diff(model.psi) <= 0).all()


def test_objective_never_decreases_and_is_the_likelihood_of_the_model():
    x, labels = blobs(num_classes=12, per_class=3, dim=3)
    x, labels = x[:-2], labels[:-2]  # one class has a single vector
    model, objective = train_plda(stats_of(x, labels), 15)
    assert (np.diff(objective) >= -1e-12).all() and len(objective) == 16
    total = 0.0
    for k in np.unique(labels):
        mine = x[labels == k]
        covariance = np.kron(np.ones((len(mine), len(mine))), model.between) + np.kron(np.eye(len(mine)), model.within)
        total += multivariate_normal(np.tile(model.mean, len(mine)), covariance).logpdf(mine.ravel())
    # Kaldi's objective counts log|W| for N - K + K vectors, and a class mean's own density in place of the samples'
    counts = np.bincount(labels)
    jacobian = 0.5 * 3 * np.log(counts).sum()
    assert objective[-1] * len(x) == pytest.approx(total + jacobian, rel=1e-9)


def test_em_finds_the_covariances_the_data_were_drawn_from():
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(3000), 6)
    B, W = np.diag([4.0, 1.0]), np.array([[2.0, 0.5], [0.5, 1.0]])
    x = rng.multivariate_normal([1, 2], B, 3000)[labels] + rng.multivariate_normal([0, 0], W, 18000)
    model = train_plda(stats_of(x, labels), 30)[0]
    np.testing.assert_allclose(model.within, W, atol=0.05)
    np.testing.assert_allclose(model.between, B, atol=0.2)
    np.testing.assert_allclose(model.mean, [1, 2], atol=0.1)


def test_projection_of_the_model_is_the_model_of_the_projection():
    model = train_plda(stats_of(*blobs()))[0]
    P = np.random.default_rng(1).normal(size=(4, 6))
    projected = model.apply(P)
    np.testing.assert_allclose(projected.within, P @ model.within @ P.T, rtol=1e-8)
    np.testing.assert_allclose(projected.between, P @ model.between @ P.T, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("normalize_length", [True, False])
def test_fast_pairs_are_the_plain_llr(normalize_length):
    x, labels = blobs()
    backend = Plda(Config(normalize_length=normalize_length)).fit(x, labels)
    rng = np.random.default_rng(2)
    side = backend.project(x, rng.integers(1, 5, len(x)))
    test = backend.project(x)
    i, j = rng.integers(0, len(x), 20000), rng.integers(0, len(x), 20000)
    plain = llr(backend.model, side.u[i], test.u[j], side.counts[i])
    np.testing.assert_allclose(backend.pairs(side, test, i, j), plain, atol=1e-10)


def test_score_of_single_utterances_is_symmetric():
    x, labels = blobs()
    backend = Plda().fit(x, labels)
    np.testing.assert_allclose(backend.score(x[:50], x[50:100]), backend.score(x[50:100], x[:50]), atol=1e-10)


def test_counts_matter_only_when_asked_for():
    x, labels = blobs()
    counts = np.full(20, 3)
    plain, counted = (Plda(Config(use_counts=use)).fit(x, labels) for use in (False, True))
    np.testing.assert_allclose(plain.score(x[:20], x[20:40], counts), plain.score(x[:20], x[20:40]))
    assert np.abs(counted.score(x[:20], x[20:40], counts) - counted.score(x[:20], x[20:40])).max() > 0.01


def test_adaptation_repairs_a_shift_of_the_mean():
    x, labels = blobs(seed=1)
    shifted = x + np.random.default_rng(4).normal(size=6) * 20
    backend = Plda().fit(x, labels)
    at_home, away = backend.score(x[:100], x[100:200]), backend.score(shifted[:100], shifted[100:200])
    adapted = backend.adapt(shifted).score(shifted[:100], shifted[100:200])
    assert np.abs(away / at_home - 1).max() > 0.5
    np.testing.assert_allclose(adapted, at_home, rtol=1e-3)  # the training data too differ a little from the model


def test_left_out_utterances_do_not_train_plda():
    x, labels = blobs()
    noisy = np.vstack([x, 50 + np.random.default_rng(0).normal(size=(9, 6))])
    stats = stats_of(noisy, np.append(labels, np.full(9, -1)))
    np.testing.assert_allclose(stats.within, stats_of(x, labels).within, atol=1e-9)


def test_plda_without_labels_says_what_to_do():
    with pytest.raises(InputError, match="PLDA: needs labels of its training embeddings"):
        Plda().fit(np.ones((5, 2)))


def test_degenerate_within_covariance_is_an_error():
    with pytest.raises(InputError, match="not positive definite"):
        from_covariances(np.zeros(2), np.zeros((2, 2)), np.eye(2))
