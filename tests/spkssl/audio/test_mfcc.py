import numpy as np
import pytest
import torch
from scipy.fft import dct as scipy_dct

from spkssl import rng
from spkssl.audio.mfcc import Mfcc, MfccConfig, dct
from spkssl.audio.spectrum import INT16

VOXCELEB = {"num_mel_bins": 30, "num_ceps": 30, "low_freq": 20.0, "high_freq": 7600.0, "snip_edges": False}


def wave(samples=6000):
    return 0.1 * torch.randn(samples, generator=rng.torch_generator(1, "mfcc"))


def test_kaldi_agrees(golden):
    waves = np.load(golden / "feat/wav.npz")
    for utt, want in np.load(golden / "feat/mfcc30_voxceleb.npz").items():
        got = Mfcc(MfccConfig(**VOXCELEB))(torch.from_numpy(waves[utt] / np.float32(INT16))).numpy()
        assert got.shape == want.shape
        np.testing.assert_allclose(got[:, 0], want[:, 0], atol=5e-6)
        np.testing.assert_allclose(got, want, atol=6e-3)
        assert np.abs(got - want).mean() < 2e-4


def test_transform_is_scipys_without_lifter():
    got = dct(MfccConfig(cepstral_lifter=0.0, num_ceps=23))
    np.testing.assert_allclose(got, scipy_dct(np.eye(23), norm="ortho", axis=1), atol=1e-12)


def test_lifter_raises_the_middle_coefficient_twelvefold():
    plain, liftered = (dct(MfccConfig(cepstral_lifter=q)) for q in (0.0, 22.0))
    np.testing.assert_allclose(liftered[:, 0], plain[:, 0])
    np.testing.assert_allclose(liftered[:, 11], 12 * plain[:, 11])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_energy": False},
        {"use_energy": False, "htk_compat": True},
        {"htk_compat": True},
        {"raw_energy": False},
        VOXCELEB,
    ],
)
def test_torchaudio_agrees(options):
    from torchaudio.compliance import kaldi

    peer = {"use_energy": True, "dither": 0.0, "energy_floor": 0.0, **options}
    want = kaldi.mfcc(wave()[None] * INT16, **peer)
    torch.testing.assert_close(Mfcc(MfccConfig(**options))(wave()), want, atol=2e-3, rtol=1e-4)


def test_batch_is_its_rows():
    waves = wave(2 * 4000).reshape(2, 4000)
    got = Mfcc()(waves)
    assert got.shape == (2, 23, 13)
    torch.testing.assert_close(got[1], Mfcc()(waves[1]), atol=1e-4, rtol=0)


def test_more_cepstra_than_filters_are_refused():
    with pytest.raises(ValueError, match="num_ceps"):
        MfccConfig(num_ceps=24)
