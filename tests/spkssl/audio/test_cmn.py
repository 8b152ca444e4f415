import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spkssl import rng
from spkssl.audio.cmn import apply_cmvn, cmvn_stats, sliding_cmn


@pytest.fixture(scope="module")
def feats(golden):
    return {utt: torch.from_numpy(x) for utt, x in np.load(golden / "feat/fbank80.npz").items()}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cmn100", {"window": 100}),
        ("cmn300", {"window": 300}),
        ("cmn100_left", {"window": 100, "center": False, "min_window": 30}),
        ("cmvn100_vars", {"window": 100, "norm_vars": True}),
    ],
)
def test_sliding_agrees_with_kaldi(golden, feats, name, options):
    for utt, want in np.load(golden / f"feat/fbank80.{name}.npz").items():
        got = sliding_cmn(feats[utt], **options)
        assert got.dtype == torch.float32
        np.testing.assert_allclose(got.numpy(), want, atol=1e-6, rtol=0)


def test_whole_utterance_agrees_with_kaldi(golden, feats):
    for utt, want in np.load(golden / "feat/fbank80.cmn_utt.npz").items():
        np.testing.assert_allclose(apply_cmvn(feats[utt], cmvn_stats(feats[utt])).numpy(), want, atol=2e-6, rtol=0)


def test_speaker_with_variance_agrees_with_kaldi(golden, feats):
    stats = cmvn_stats(feats["s02-u01"]) + cmvn_stats(feats["s02-u02"])
    for utt, want in np.load(golden / "feat/fbank80.cmvn_spk_vars.npz").items():
        np.testing.assert_allclose(apply_cmvn(feats[utt], stats, norm_vars=True).numpy(), want, atol=2e-6, rtol=0)


def test_window_of_three():
    got = sliding_cmn(torch.tensor([1.0, 2, 3, 6])[:, None], window=3)
    np.testing.assert_allclose(got[:, 0], [-1, 0, -2 / 3, 7 / 3], atol=1e-6)


@given(
    frames=st.integers(1, 30),
    windows=st.tuples(st.integers(1, 40), st.integers(1, 40)).map(sorted),
    center=st.booleans(),
    norm_vars=st.booleans(),
)
def test_counting_frame_by_frame_gives_the_same(frames, windows, center, norm_vars):
    min_window, window = windows
    x = torch.randn(frames, 2, dtype=torch.float64, generator=rng.torch_generator(frames, "cmn"))
    got = sliding_cmn(x, window, center, norm_vars, min_window)
    for t in range(frames):
        if center:
            start = max(0, min(t - window // 2, frames - window))
            stop = min(frames, start + window)
        else:
            start, stop = max(0, t - window), min(frames, max(t + 1, min_window))
        near = x[start:stop]
        want = x[t] - near.mean(0)
        if norm_vars:
            want = want / near.var(0, unbiased=False).clamp_min(1e-10).sqrt()
        # One frame deviates by rounding only, which the variance floor multiplies by 1e5.
        torch.testing.assert_close(got[t], want, atol=1e-8, rtol=1e-6)


def test_window_longer_than_the_utterance_is_the_utterance():
    x = torch.randn(50, 3, generator=rng.torch_generator(0, "cmn"))
    torch.testing.assert_close(sliding_cmn(x, 300), apply_cmvn(x, cmvn_stats(x)), atol=1e-6, rtol=0)


def test_batch_is_its_rows():
    x = torch.randn(2, 40, 3, generator=rng.torch_generator(0, "cmn"))
    assert torch.equal(sliding_cmn(x, 10, norm_vars=True)[1], sliding_cmn(x[1], 10, norm_vars=True))


def test_long_utterance_keeps_its_digits():
    x = 20 + 1e-3 * torch.randn(200_000, 1, generator=rng.torch_generator(0, "cmn"))
    got = sliding_cmn(x, 300)
    want = x[-1].double() - x[-300:].double().mean()
    assert got[-1].item() == pytest.approx(want.item(), abs=1e-8)


def test_nothing_to_normalise():
    assert sliding_cmn(torch.zeros(0, 5)).shape == (0, 5)
    with pytest.raises(ValueError, match="no frames"):
        apply_cmvn(torch.zeros(0, 5), cmvn_stats(torch.zeros(0, 5)))
    with pytest.raises(ValueError, match="one frame"):
        sliding_cmn(torch.zeros(4, 5), window=0)
    with pytest.raises(ValueError, match="exceed"):
        sliding_cmn(torch.zeros(4, 5), window=50, center=False)
