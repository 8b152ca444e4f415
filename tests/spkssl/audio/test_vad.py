import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spkssl.audio.spectrum import LogEnergy, SpectrumConfig
from spkssl.audio.vad import VadConfig, voiced


def test_kaldi_agrees_from_the_wave_on(golden):
    waves = np.load(golden / "feat/wav.npz")
    energy = LogEnergy(SpectrumConfig(snip_edges=False))
    for utt, want in np.load(golden / "feat/vad_voxceleb.npz").items():
        got = voiced(energy(torch.from_numpy(waves[utt] / np.float32(32768))))
        np.testing.assert_array_equal(got.numpy(), want)
        assert 0 < want.sum() < len(want)


def test_kaldi_agrees_on_its_own_energies(golden):
    mfcc = np.load(golden / "feat/mfcc30_voxceleb.npz")
    for utt, want in np.load(golden / "feat/vad_voxceleb.npz").items():
        np.testing.assert_array_equal(voiced(torch.from_numpy(mfcc[utt][:, 0])).numpy(), want)


@pytest.mark.parametrize(("proportion", "context", "want"), [(0.6, 0, [0, 1, 0, 1, 1]), (0.12, 2, [1, 1, 1, 1, 1])])
def test_context_and_proportion(proportion, context, want):
    config = VadConfig(5.5, 0.5, proportion, context)  # threshold 5.5 + 16 / 2 = 13.5
    assert voiced(torch.tensor([10.0, 20, 10, 20, 20]), config).long().tolist() == want


@given(
    energy=st.lists(st.integers(0, 30), min_size=1, max_size=40),
    context=st.integers(0, 5),
    proportion=st.sampled_from([0.1, 0.25, 0.5, 0.6, 0.9]),
)
def test_counting_frame_by_frame_gives_the_same(energy, context, proportion):
    config = VadConfig(5.5, 0.5, proportion, context)
    level = 5.5 + 0.5 * np.mean(energy)
    want = []
    for t in range(len(energy)):
        near = energy[max(0, t - context) : t + context + 1]
        want.append(sum(e > level for e in near) >= np.float32(len(near) * proportion))
    assert voiced(torch.tensor(energy).float(), config).tolist() == want


def test_batch_is_its_rows():
    energy = torch.arange(24.0).reshape(2, 12).cos() * 20
    assert torch.equal(voiced(energy)[1], voiced(energy[1]))


def test_impossible_options_are_refused():
    for options in ({"proportion_threshold": 0.0}, {"proportion_threshold": 1.0}, {"frames_context": -1}):
        with pytest.raises(ValueError, match="must"):
            VadConfig(**options)
