import numpy as np
import pytest

from spkssl.backend.cosine import Config, Cosine
from spkssl.backend.pool import averages
from spkssl.backend.vectors import RowError, length_normalise, magnitudes
from spkssl.errors import InputError

E, T = np.array([[3.0, 4.0]]), np.array([[4.0, 3.0]])


def test_cosine_with_and_without_mean():
    plain = Cosine(Config(subtract_mean=False)).fit(E)
    assert plain.score(E, T) == pytest.approx(0.96)
    centred = Cosine().fit(np.array([[2.0, 3.0], [4.0, 3.0]]))  # mean (3, 3)
    assert centred.score(E, T) == pytest.approx(0, abs=1e-15)


def test_averaging_raw_and_averaging_directions_are_different_systems():
    x, test = np.array([[1.0, 0.0], [0.0, 3.0]]), np.array([[0.0, 1.0]])
    plain = Cosine(Config(subtract_mean=False)).fit(x)
    assert plain.score(averages(x, [(0, 1)]), test) == pytest.approx(0.948683, abs=1e-6)
    assert plain.score(averages(x, [(0, 1)], "normalised"), test) == pytest.approx(0.707107, abs=1e-6)


def test_averaged_directions_are_those_around_the_mean():
    x, mean = np.array([[2.0, 1.0], [1.0, 4.0]]), np.array([1.0, 1.0])
    np.testing.assert_allclose(averages(x, [(0, 1)], "normalised", mean) - mean, [[0.5, 0.5]])


def test_constant_added_everywhere_changes_nothing():
    rng = np.random.default_rng(0)
    train, x, shift = rng.normal(size=(50, 8)), rng.normal(size=(6, 8)), rng.normal(size=8)
    before = Cosine().fit(train).score(x[:3], x[3:])
    after = Cosine().fit(train + shift).score(x[:3] + shift, x[3:] + shift)
    np.testing.assert_allclose(after, before, atol=1e-12)


def test_zero_vector_is_an_error_that_names_the_row():
    backend = Cosine(Config(subtract_mean=False)).fit(E)
    with pytest.raises(RowError, match="row 1: is zero") as caught:
        backend.project(np.array([[1.0, 0.0], [0.0, 0.0]]))
    assert caught.value.row == 1


def test_direction_of_a_zero_offset_is_an_error():
    with pytest.raises(InputError, match="no direction to average"):
        averages(np.ones((2, 3)), [(0, 1)], "normalised", np.ones(3))


def test_length_normalisation_scales_to_root_dimension_and_passes_zero():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(np.linalg.norm(length_normalise(x), axis=1), [np.sqrt(2), 0])
    np.testing.assert_allclose(length_normalise(x, scale_up=False)[0], [0.6, 0.8])


def test_magnitude_is_the_norm_after_mean_subtraction():
    np.testing.assert_allclose(magnitudes(np.array([[3.0, 4.0]])), [5])
    np.testing.assert_allclose(magnitudes(np.array([[4.0, 4.0]]), np.array([4.0, 1.0])), [3])
