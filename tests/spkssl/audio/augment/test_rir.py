import numpy as np
import pytest

from spkssl.audio.augment import rir
from spkssl.audio.fbank import FbankConfig
from spkssl.errors import InputError

FBANK = FbankConfig()


def test_a_single_tap_is_no_reverberation():
    found = rir.decay(np.array([1.0], np.float32), FBANK)
    np.testing.assert_allclose(found.early, 1, rtol=1e-5)
    assert not found.late.any() and not found.tail.any()


def test_an_echo_is_heard_at_its_lag_with_its_energy():
    response = np.zeros(1700, np.float32)
    response[0], response[1600] = 1.0, 0.5
    found = rir.decay(response, FBANK)
    np.testing.assert_allclose(found.tail, np.eye(12)[10][: len(found.tail)], atol=1e-6)
    np.testing.assert_allclose(found.late, 0.25, rtol=1e-4)


def test_energy_is_kept():
    response = np.random.default_rng(0).standard_normal(5000).astype(np.float32) * np.exp(-np.arange(5000) / 900)
    found = rir.decay(rir.scaled(response, "energy", False, "x"), FBANK)
    assert abs((found.early + found.late).mean() - 1) < 0.1  # a mean over bands, not over hertz
    assert abs(found.tail.sum() - 1) < 1e-5 and found.tail[0] == 0


def test_scales():
    response = np.array([0.0, -0.5, 2.0, 1.0], np.float32)
    np.testing.assert_allclose(rir.scaled(response, "gain", False, "x"), response)
    assert abs((rir.scaled(response, "energy", False, "x") ** 2).sum() - 1) < 1e-6
    np.testing.assert_allclose(rir.scaled(response, "minmax", False, "x"), [0.2, 0.0, 1.0, 0.6], rtol=1e-6)
    np.testing.assert_allclose(rir.scaled(response, "minmax", True, "x"), [1.0, 0.6], rtol=1e-6)
    np.testing.assert_allclose(rir.scaled(response, "gain", True, "x"), [2.0, 1.0])


def test_an_empty_response_is_the_users_error():
    with pytest.raises(InputError, match="a.wav: is all zeros"):
        rir.scaled(np.zeros(10, np.float32), "energy", False, "a.wav")
