import numpy as np
import torch

from spkssl.audio.augment import feats
from spkssl.audio.augment.material import Material
from spkssl.audio.augment.melaxis import KNOTS, band_places, bin_places, curve_basis, power_weights
from spkssl.audio.fbank import FbankConfig

FBANK = FbankConfig(num_mel_bins=20)
WEIGHTS = torch.from_numpy(power_weights(FBANK))
BASIS = torch.from_numpy(curve_basis(band_places(FBANK)))
NONE = torch.empty(0, dtype=torch.long)
PLAIN = Material(
    torch.empty(0, 30, 20), NONE, torch.empty(0), torch.empty(0, KNOTS), NONE, (), NONE, torch.empty(0, KNOTS), NONE,
    torch.empty(0, 1, 2), torch.empty(0, 1, 2),
)  # fmt: skip


def mels(*shape: int) -> torch.Tensor:
    return 10 + 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_reverberation_is_the_causal_convolution_of_each_band():
    x, early, late = mels(3, 30, 20), torch.rand(2, 20) + 0.5, torch.rand(2, 20)
    tail = torch.cat([torch.zeros(2, 1), torch.rand(2, 29)], 1)
    got = feats.apply(x.clone(), PLAIN._replace(rir_row=torch.tensor([0, 2]), rir=(early, late, tail)), WEIGHTS, BASIS)
    assert torch.equal(got[1], x[1])
    for p, row in enumerate((0, 2)):
        power = x[row].exp()
        expected = torch.zeros(30, 20)
        for t in range(30):
            expected[t] = early[p] * power[t]
            for k in range(1, t + 1):
                expected[t] += late[p] * tail[p, k] * power[t - k]
        torch.testing.assert_close(got[row], expected.log(), rtol=1e-4, atol=1e-4)


def test_noise_is_added_as_power_at_its_snr():
    x, noise = mels(2, 30, 20), mels(3, 30, 20)
    snr = torch.tensor([3.0, 10.0, 0.0])
    m = PLAIN._replace(noise=noise, noise_row=torch.tensor([1, 1, 1]), snr=snr)
    added = feats.apply(x.clone(), m, WEIGHTS, BASIS).exp() - x.exp()
    assert torch.equal(added[0], torch.zeros(30, 20))
    power = (x[1].exp() @ WEIGHTS).sum()
    expected = sum(
        n.exp() * power / (n.exp() @ WEIGHTS).sum() * 10 ** (-float(s) / 10) for n, s in zip(noise, snr, strict=True)
    )
    torch.testing.assert_close(added[1], expected, rtol=1e-3, atol=1e-2 * float(expected.mean()))


def test_noises_summed_at_one_snr_share_it_equally():
    x, noise = mels(1, 30, 20), mels(3, 30, 20)
    m = PLAIN._replace(noise=noise, noise_row=torch.tensor([0, 0, 0]), snr=torch.full((3,), 5.0))
    added = feats.apply(x.clone(), m, WEIGHTS, BASIS, snr_of="sum").exp() - x.exp()
    snr = 10 * torch.log10((x.exp() @ WEIGHTS).sum() / (added @ WEIGHTS).sum())
    assert abs(snr - 5) < 0.05


def test_masks_filled_with_the_mean_vanish_after_mean_subtraction():
    x = mels(2, 30, 20)
    time_mask, mel_mask = torch.tensor([[[4.0, 0.0]]]), torch.tensor([[[3.0, 0.99]]])
    m = PLAIN._replace(mask_row=torch.tensor([1]), time_mask=time_mask, mel_mask=mel_mask)
    got = feats.apply(x.clone(), m, WEIGHTS, BASIS, mask_fill="mean")
    assert torch.equal(got[0], x[0])
    torch.testing.assert_close(got[1, :4], x[1].mean(0).expand(4, 20))
    torch.testing.assert_close(got[1, :, 17:], x[1, :, 17:].mean(0).expand(30, 3))
    assert torch.equal(got[1, 4:, :17], x[1, 4:, :17])


def test_masks_reach_both_ends_and_never_leave():
    starts = torch.tensor([0.0, 0.5, 0.999999])
    first, end = feats.mask_ends(torch.stack([torch.full((3,), 9.0), starts], -1)[:, None], 100)
    assert first[:, 0].tolist() == [0, 46, 91] and (end - first).unique().tolist() == [9]
    first, end = feats.mask_ends(torch.tensor([[[9.0, 0.7]]]), 5)
    assert (first.item(), end.item()) == (0, 5)
    assert not feats.bands_hit(torch.tensor([[[0.0, 0.3]]]), 10).any()


def test_curves_are_smooth_and_have_unit_variance_everywhere():
    basis = curve_basis(np.linspace(0, 1, 101))
    assert np.abs((basis**2).sum(0) - 1).max() < 0.02
    covariance = basis.T @ basis
    assert abs(covariance[0, 18] - np.exp(-0.5)) < 0.02 and covariance[0, 90] < 0.01
    places = bin_places(FBANK, 257)
    assert places[0] == 0 and places[-1] == 1 and (np.diff(places) >= 0).all()


def test_power_weights_take_the_preemphasis_back():
    weights = power_weights(FbankConfig())
    assert (np.diff(weights) < 0).all()  # pre-emphasis raises the treble
    np.testing.assert_allclose(power_weights(FbankConfig(preemphasis_coefficient=0.0)), 1, rtol=1e-6)
