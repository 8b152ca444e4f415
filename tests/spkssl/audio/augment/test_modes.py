"""The two input modes on one plan: log-mels of augmented audio against augmented log-mels."""

import numpy as np
import pytest
import torch

from spkssl.audio.augment import feats, rir, wave
from spkssl.audio.augment.material import Material
from spkssl.audio.augment.melaxis import KNOTS, band_places, curve_basis, power_weights
from spkssl.audio.fbank import Fbank, FbankConfig

FBANK = FbankConfig()
DECIBELS = 10 / np.log(10)
NONE = torch.empty(0, dtype=torch.long)


def material(rows, *, noise=None, snr=0.0, responses=(), eq=None, time_mask=None, mel_mask=None):
    every = torch.arange(rows)
    masked = time_mask is not None or mel_mask is not None
    empty = torch.zeros(rows if masked else 0, 1, 2)
    return Material(
        noise=noise if noise is not None else torch.empty(0),
        noise_row=every if noise is not None else NONE,
        snr=torch.full((rows if noise is not None else 0,), float(snr)),
        noise_eq=torch.zeros(0, KNOTS),
        rir_row=every if responses else NONE,
        rir=tuple(responses),
        eq_row=every if eq is not None else NONE,
        eq=eq if eq is not None else torch.zeros(0, KNOTS),
        mask_row=every if masked else NONE,
        time_mask=time_mask if time_mask is not None else empty,
        mel_mask=mel_mask if mel_mask is not None else empty,
    )


@pytest.fixture(scope="module")
def both(sounds):
    """Two functions (noise, snr, reverberation, eq) -> log-mels: by way of audio, and by way of features."""
    voices, noises, rooms = sounds
    fbank, rows = Fbank(FBANK), len(voices)
    x, n = torch.from_numpy(voices), torch.from_numpy(noises)
    padded = torch.zeros_like(x)
    for row, response in enumerate(rooms):
        padded[row, : len(response)] = torch.from_numpy(response)
    mels, noise_mels = fbank(x), fbank(n)
    decays = [rir.decay(response, FBANK) for response in rooms]
    tail = torch.zeros(rows, mels.shape[1])
    for row, decay in enumerate(decays):
        tail[row, : len(decay.tail)] = torch.from_numpy(decay.tail)
    early, late = (torch.from_numpy(np.stack([getattr(d, part) for d in decays])) for part in ("early", "late"))
    weights = torch.from_numpy(power_weights(FBANK))
    basis = torch.from_numpy(curve_basis(band_places(FBANK)))

    def by_wave(noise=False, snr=0.0, reverb=False, **more):
        m = material(rows, noise=n if noise else None, snr=snr, responses=(padded,) if reverb else (), **more)
        return fbank(wave.apply(x.clone(), m, FBANK))

    def by_feats(noise=False, snr=0.0, reverb=False, **more):
        responses = (early, late, tail) if reverb else ()
        m = material(rows, noise=noise_mels if noise else None, snr=snr, responses=responses, **more)
        return feats.apply(mels.clone(), m, weights, basis)

    return by_wave, by_feats


def compare(a, b):
    """Correlation and RMS difference in dB of log-mels without their means over time: what an encoder sees."""
    a, b = (x - x.mean(1, keepdim=True) for x in (a, b))
    return float(np.corrcoef(a.flatten(), b.flatten())[0, 1]), DECIBELS * float((a - b).square().mean().sqrt())


# Measured: 0 dB .973 and 1.19 dB, 5 dB .978 and 1.20, 10 dB .984 and 1.18, 20 dB .993 and 1.06.
# Sounds added as powers lack the cross terms of added waves.
@pytest.mark.parametrize(
    ("snr", "correlation", "rms"), [(0, 0.96, 1.6), (5, 0.965, 1.6), (10, 0.975, 1.6), (20, 0.985, 1.5)]
)
def test_noise_on_log_mels_is_noise_on_audio(both, record_property, snr, correlation, rms):
    by_wave, by_feats = both
    got = compare(by_wave(noise=True, snr=snr), by_feats(noise=True, snr=snr))
    record_property("correlation, rms in dB", str(got))
    assert got[0] > correlation and got[1] < rms


def test_reverberation_on_log_mels_is_reverberation_on_audio(both, record_property):
    by_wave, by_feats = both
    got = compare(by_wave(reverb=True), by_feats(reverb=True))  # measured .963, 3.3 dB; untouched: .76, 12 dB
    record_property("correlation, rms in dB", str(got))
    assert got[0] > 0.94 and got[1] < 3.8


@pytest.mark.parametrize("snr", [0, 10])
def test_noise_after_reverberation_is_alike_in_both_modes(both, record_property, snr):
    by_wave, by_feats = both
    plan = {"noise": True, "snr": snr, "reverb": True}
    got = compare(by_wave(**plan), by_feats(**plan))  # measured 0 dB .929 and 1.9 dB, 10 dB .926 and 2.3
    record_property("correlation, rms in dB", str(got))
    assert got[0] > 0.91 and got[1] < 3.5


def test_augmentation_changes_much_more_than_the_modes_differ(both):
    by_wave, by_feats = both
    for plan in ({"noise": True, "snr": 10.0}, {"reverb": True}):
        changed, apart = compare(by_wave(), by_wave(**plan))[1], compare(by_wave(**plan), by_feats(**plan))[1]
        assert changed > 3 * apart


def test_both_modes_mean_the_same_snr(sounds):
    voices, noises, _ = sounds
    mels, weights = Fbank(FBANK), torch.from_numpy(power_weights(FBANK))
    power = [DECIBELS * np.log(np.mean(x**2, axis=1)) for x in (voices, noises)]
    seen = [DECIBELS * torch.log((mels(torch.from_numpy(x)).exp() @ weights).sum(1)).numpy() for x in (voices, noises)]
    assert np.abs((power[0] - power[1]) - (seen[0] - seen[1])).max() < 0.8
    assert abs(np.mean((power[0] - power[1]) - (seen[0] - seen[1]))) < 0.3


def test_equalisation_is_alike_in_both_modes(both):
    by_wave, by_feats = both
    eq = 4 * torch.randn(24, KNOTS, generator=torch.Generator().manual_seed(1))
    a, b, clean = by_wave(eq=eq), by_feats(eq=eq), by_feats()
    assert DECIBELS * float((a - b).square().mean().sqrt()) < 0.5
    assert 2.5 < DECIBELS * float((b - clean).square().mean().sqrt()) < 6  # sd 4 dB


def test_masks_silence_the_same_frames_and_bands(both):
    by_wave, by_feats = both
    nine_frames, five_bands = (torch.tensor([[mask]]).repeat(24, 1, 1) for mask in ([9.0, 0.5], [5.0, 0.4]))
    masks = {"time_mask": nine_frames, "mel_mask": five_bands}
    floor = np.log(1.1920929e-07)
    a, b = by_wave(**masks), by_feats(**masks)
    hit = b[0] < floor + 1e-4
    assert int(hit.all(1).sum()) == 9 and int(hit.all(0).sum()) == 5
    assert float(a[:, hit.all(1)].max()) < floor + 1e-4  # audio: exactly silent frames
    bands = a[:, ~hit.all(1)][:, :, hit.all(0)]
    assert float(bands.mean()) < float(by_wave()[:, :, hit.all(0)].mean()) - 4  # and bands far below what they were
