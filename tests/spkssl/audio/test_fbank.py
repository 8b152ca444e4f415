import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spkssl import config, rng
from spkssl.audio.fbank import Fbank, FbankConfig
from spkssl.audio.spectrum import INT16, LogEnergy, SpectrumConfig, mel, mel_edges, mel_filters, window
from spkssl.contract import samples_of
from spkssl.errors import InputError

SILENCE = -15.942385


@pytest.fixture(scope="module")
def waves(golden):
    return {utt: torch.from_numpy(wave / 32768.0) for utt, wave in np.load(golden / "feat/wav.npz").items()}


def noise(*shape, tag="noise", scale=0.1):
    return scale * torch.randn(shape, generator=rng.torch_generator(1, tag))


def tolerance(reference):
    """Float's error grows with the distance to the loudest bin of the frame: 3.4e-4 down to 16 nats below it."""
    depth = reference.max(1, keepdims=True) - reference
    return 3.4e-4 * np.exp(np.maximum(depth - 16, 0) / 2)


def test_float_agrees_with_double_kaldi_as_far_as_float_reaches(golden, waves):
    for utt, reference in np.load(golden / "feat/fbank80_double.npz").items():
        got = Fbank()(waves[utt].float()).numpy()
        assert got.shape == reference.shape
        assert (np.abs(got - reference) < tolerance(reference)).all()


def test_double_agrees_with_double_kaldi(golden, waves):
    for utt, reference in np.load(golden / "feat/fbank80_double.npz").items():
        got = Fbank(dtype=torch.float64)(waves[utt])
        np.testing.assert_allclose(got.numpy(), reference, atol=3e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [("fbank80", {}), ("fbank40", {"num_mel_bins": 40}), ("fbank80_nosnip", {"snip_edges": False})],
)
def test_float_agrees_with_float_kaldi(golden, waves, name, options):
    for utt, reference in np.load(golden / f"feat/{name}.npz").items():
        got = Fbank(FbankConfig(**options))(waves[utt].float()).numpy()
        assert got.shape == reference.shape
        assert (np.abs(got - reference) < 2 * tolerance(reference)).all()


def test_no_frame_is_worse_than_kaldi_float_on_average(golden, waves):
    double, single = (np.load(golden / f"feat/{name}.npz") for name in ("fbank80_double", "fbank80"))
    for utt in double.files:
        ours = np.abs(Fbank()(waves[utt].float()).numpy() - double[utt]).mean()
        assert ours < 1.1 * np.abs(single[utt] - double[utt]).mean()


@pytest.mark.parametrize(
    ("samples", "snip", "no_snip"), [(16000, 98, 100), (400, 1, 3), (399, 0, 2), (80, 0, 1), (79, 0, 0), (0, 0, 0)]
)
def test_frames_of_so_many_samples(samples, snip, no_snip):
    for edges, frames in ((True, snip), (False, no_snip)):
        extract = Fbank(FbankConfig(snip_edges=edges))
        assert extract.num_frames(samples) == frames
        assert extract(torch.zeros(samples)).shape == (frames, 80)


@given(frames=st.integers(1, 400))
def test_samples_of_gives_just_that_many_frames(frames):
    extract = SpectrumConfig()
    assert extract.num_frames(samples_of(frames)) == frames
    assert extract.num_frames(samples_of(frames) - 1) == frames - 1


def test_povey_window():
    w = window(SpectrumConfig())
    np.testing.assert_allclose(w[[0, 1, 100, 199, 200]], [0, 0.00026515, 0.5566407, 0.9999868, 0.9999868], atol=5e-8)


def test_other_windows_are_the_textbook_ones():
    n = 400
    for name, want in [("hamming", np.hamming(n)), ("hanning", np.hanning(n)), ("blackman", np.blackman(n))]:
        np.testing.assert_allclose(window(SpectrumConfig(window_type=name)), want, atol=1e-12)
    np.testing.assert_array_equal(window(SpectrumConfig(window_type="rectangular")), np.ones(n))
    sine = window(SpectrumConfig(window_type="sine"))
    np.testing.assert_allclose(sine**2, np.hanning(n), atol=1e-12)


def test_mel_scale():
    np.testing.assert_allclose(mel([20, 1000, 7600, 8000]), [31.7486, 999.9907, 2786.9926, 2840.0377], atol=1e-4)


@pytest.mark.parametrize(
    ("bins", "high", "first", "last"),
    [
        (80, 0.0, 42.4938, 7736.434),
        (80, 7600.0, 42.0625, 7353.230),
        (80, -400.0, 42.0625, 7353.230),
        (23, 0.0, 98.773, 7142.02),
    ],
)
def test_centres_of_first_and_last_filter(bins, high, first, last):
    edges = mel_edges(SpectrumConfig(num_mel_bins=bins, high_freq=high))
    centres = 700 * np.expm1(edges / 1127)
    np.testing.assert_allclose([centres[1], centres[-2]], [first, last], rtol=1e-5)


def test_neighbouring_filters_sum_to_one_between_their_centres():
    options = SpectrumConfig(num_mel_bins=23)
    place = mel(np.arange(256) * 16000 / 512)
    inside = (place > mel_edges(options)[1]) & (place < mel_edges(options)[-2])
    np.testing.assert_allclose(mel_filters(options)[inside].sum(1), 1, atol=1e-9)


def test_silence_is_kaldis_floor():
    for snip in (True, False):
        got = Fbank(FbankConfig(snip_edges=snip))(torch.zeros(16000))
        np.testing.assert_allclose(got, SILENCE, atol=2e-6)


def test_scale_of_int16_is_a_constant_in_the_logarithm():
    wave = noise(8000)
    difference = Fbank()(wave) - Fbank()(wave / INT16)
    np.testing.assert_allclose(difference, 20.794415, atol=1e-3)
    assert 2 * np.log(INT16) == pytest.approx(20.794415)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_mel_bins": 40, "window_type": "hamming", "high_freq": 7600.0},
        {"window_type": "blackman", "snip_edges": False, "preemphasis_coefficient": 0.0},
        {"use_energy": True},
        {"use_energy": True, "raw_energy": False, "htk_compat": True},
        {"use_energy": True, "energy_floor": 1e12},
        {"use_power": False, "remove_dc_offset": False, "window_type": "rectangular"},
        {"use_log_fbank": False, "window_type": "hanning"},
        {"frame_length": 320, "frame_shift": 80},
        {"round_to_power_of_two": False},
    ],
)
def test_torchaudio_agrees(options):
    from torchaudio.compliance import kaldi

    wave = noise(7000, tag="peer") + 0.01
    peer = {"frame_length": 25.0, "frame_shift": 10.0, "num_mel_bins": 80, "dither": 0.0}
    peer |= {name: value / 16 if name.startswith("frame_") else value for name, value in options.items()}
    want = kaldi.fbank(wave[None] * INT16, energy_floor=peer.pop("energy_floor", 0.0), **peer)
    got = Fbank(FbankConfig(**options))(wave)
    torch.testing.assert_close(got, want, atol=1e-3, rtol=1e-4)


def test_batch_is_its_rows():
    waves = noise(2, 3, 5000)
    got = Fbank()(waves)
    assert got.shape == (2, 3, 29, 80)
    torch.testing.assert_close(got[1, 2], Fbank()(waves[1, 2]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("snip", [True, False])
def test_blocks_leave_no_seam(monkeypatch, snip):
    waves, extract = noise(3, 9000), Fbank(FbankConfig(snip_edges=snip))
    whole = extract(waves)
    for block in (1, 7, 60, 100):
        monkeypatch.setattr("spkssl.audio.spectrum._BLOCK_CPU", block)
        torch.testing.assert_close(extract(waves), whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("samples", [80, 100, 200, 250, 399, 1000])
def test_mirror_repeats_the_end_sample(samples):
    config = FbankConfig(snip_edges=False)
    wave = noise(samples)
    reflected = np.pad(wave.numpy(), 600, mode="symmetric")
    starts = 600 + 80 - 200 + 160 * np.arange(config.num_frames(samples))
    frames = torch.from_numpy(np.stack([reflected[start : start + 400] for start in starts]))
    torch.testing.assert_close(Fbank(config)(wave), Fbank()(frames)[:, 0], atol=1e-4, rtol=0)


def test_no_utterances_have_no_features():
    assert Fbank()(torch.zeros(0, 16000)).shape == (0, 98, 80)


def test_dither_is_drawn_from_the_generator_alone():
    extract, wave = Fbank(FbankConfig(dither=1.0)), noise(4000)
    first, again = (extract(wave, rng.torch_generator(0, "dither")) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, extract(wave, rng.torch_generator(1, "dither")))
    with pytest.raises(ValueError, match="generator"):
        extract(wave)


def test_dither_of_silence_has_unit_variance():
    options = SpectrumConfig(dither=1.0, remove_dc_offset=False)
    energy = LogEnergy(options)(torch.zeros(160000), rng.torch_generator(0, "dither")).exp()
    assert energy.mean().item() / 400 == pytest.approx(1, abs=0.01)


def test_autocast_and_half_input_change_nothing():
    wave = noise(2, 4000).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = Fbank()(wave)
    assert got.dtype == torch.float32
    assert torch.equal(got, Fbank()(wave.float()))


def test_gradient_reaches_the_wave():
    wave = noise(1, 600, tag="gradient").double().requires_grad_()
    assert torch.autograd.gradcheck(Fbank(FbankConfig(num_mel_bins=10), torch.float64), wave, eps=1e-7, atol=1e-3)


def test_checkpoints_carry_no_tables():
    assert Fbank().state_dict() == {}


def test_impossible_options_are_refused():
    wrong = ({"low_freq": 9000}, {"high_freq": 9000}, {"num_mel_bins": 2}, {"window_type": "hann"}, {"dithr": 1})
    for section in wrong:
        with pytest.raises(InputError):
            config.build(FbankConfig, section)
    with pytest.raises(ValueError, match="without any FFT bin"):
        Fbank(FbankConfig(num_mel_bins=200))


def test_names_are_kaldis():
    kaldi = {
        "sample_frequency", "frame_length", "frame_shift", "window_type", "blackman_coeff", "snip_edges",
        "round_to_power_of_two", "remove_dc_offset", "preemphasis_coefficient", "dither", "low_freq", "high_freq",
        "num_mel_bins", "raw_energy", "energy_floor", "htk_compat", "use_energy", "use_log_fbank", "use_power",
    }  # fmt: skip
    assert {field.name for field in dataclasses.fields(FbankConfig)} == kaldi


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu():
    waves = noise(8, 48000)
    got = Fbank().cuda()(waves.cuda()).cpu()
    torch.testing.assert_close(got, Fbank()(waves), atol=2e-3, rtol=0)
