import numpy as np
import pytest
import torch

from spkssl.audio.augment import wave
from spkssl.audio.augment.material import Material
from spkssl.audio.augment.melaxis import KNOTS
from spkssl.audio.fbank import FbankConfig

FBANK = FbankConfig()


def material(noise, rows, snr):
    empty = torch.empty(0, dtype=torch.long)
    curves, masks = torch.zeros(0, KNOTS), torch.zeros(0, 1, 2)
    return Material(noise, rows, snr, curves, empty, (), empty, curves, empty, masks, masks)


@pytest.mark.parametrize("snr", [0.0, 5.0, 10.0, 20.0])
def test_snr_is_achieved_within_a_tenth_of_a_decibel(sounds, snr):
    voices, noises = (torch.from_numpy(x) for x in sounds[:2])
    rows = torch.arange(len(voices))
    got = wave.apply(voices.clone(), material(noises, rows, torch.full((len(voices),), snr)), FBANK) - voices
    achieved = 10 * torch.log10(voices.square().mean(1) / got.square().mean(1))
    assert (achieved - snr).abs().max() < 0.1


def test_sum_of_noises_has_one_snr_and_equal_peaks(sounds):
    voices, noises = (torch.from_numpy(x) for x in sounds[:2])
    noises = noises[:3] * torch.tensor([[1.0], [10.0], [100.0]])
    got = wave.apply(voices[:2].clone(), material(noises, torch.tensor([1, 1, 1]), torch.full((3,), 7.0)), FBANK, "sum")
    assert torch.equal(got[0], voices[0])
    added = got[1] - voices[1]
    assert abs(10 * torch.log10(voices[1].square().mean() / added.square().mean()) - 7) < 0.1
    even = (noises / noises.abs().amax(1, keepdim=True)).sum(0)
    torch.testing.assert_close(added, even * (added.norm() / even.norm()), rtol=1e-3, atol=1e-5)


def test_each_noise_of_a_babble_has_its_own_snr(sounds):
    voices, noises = (torch.from_numpy(x) for x in sounds[:2])
    snr = torch.tensor([13.0, 20.0])
    got = wave.apply(voices[:1].clone(), material(noises[:2], torch.tensor([0, 0]), snr), FBANK) - voices[0]
    gains = (voices[0].square().mean() / noises[:2].square().mean(1) * 10 ** (-snr / 10)).sqrt()
    torch.testing.assert_close(got[0], gains @ noises[:2], rtol=1e-3, atol=1e-5)


def test_convolution_is_causal_and_keeps_the_delay():
    x = torch.randn(2, 3000, generator=torch.Generator().manual_seed(0))
    response = torch.zeros(2, 700)
    response[0, 0], response[1, 25] = 1.0, -2.0
    got = wave.convolve(x, response)
    torch.testing.assert_close(got[0], x[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(got[1, 25:], -2 * x[1, :-25], rtol=0, atol=1e-5)
    assert got[1, :25].abs().max() < 1e-5


def test_convolution_agrees_with_the_sum(sounds):
    x, response = sounds[0][:1, :2000], sounds[2][0][:1500]
    got = wave.convolve(torch.from_numpy(x), torch.from_numpy(response)[None])[0].numpy()
    np.testing.assert_allclose(got, np.convolve(x[0], response)[:2000], atol=1e-5)


def test_rows_without_a_plan_keep_their_bits_and_rows_do_not_know_each_other(sounds):
    voices, noises, rooms = (sounds[0], sounds[1], sounds[2])
    x, n = torch.from_numpy(voices[:4]), torch.from_numpy(noises[:4])
    responses = torch.zeros(2, x.shape[1])
    for i in range(2):
        responses[i, : len(rooms[i])] = torch.from_numpy(rooms[i])
    m = material(n[:2], torch.tensor([1, 3]), torch.tensor([5.0, 5.0]))
    m = m._replace(rir_row=torch.tensor([1, 2]), rir=(responses,))
    whole = wave.apply(x.clone(), m, FBANK)
    assert torch.equal(whole[0], x[0])
    alone = material(n[:1], torch.tensor([0]), torch.tensor([5.0]))
    alone = alone._replace(rir_row=torch.tensor([0]), rir=(responses[:1],))
    torch.testing.assert_close(wave.apply(x[1:2].clone(), alone, FBANK)[0], whole[1], rtol=0, atol=1e-6)
