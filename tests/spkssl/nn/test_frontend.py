import pytest
import torch

from spkssl.audio.fbank import Fbank, FbankConfig
from spkssl.config import build, to_dict
from spkssl.contract import samples_of
from spkssl.errors import InputError
from spkssl.nn.frontend import Frontend, FrontendConfig


def waves(rows: int = 3, frames: int = 40) -> torch.Tensor:
    return 0.1 * torch.randn(rows, samples_of(frames), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("norm", ["mean", "mean_var", "none"])
def test_waves_and_their_log_mels_give_the_same(norm):
    frontend = Frontend(FrontendConfig(norm=norm))
    x = waves()
    from_waves = frontend(x)
    assert from_waves.shape == (3, 40, 80)
    torch.testing.assert_close(from_waves, frontend(Fbank(FbankConfig())(x)))


def test_mean_is_removed_per_crop_and_band():
    out = Frontend(FrontendConfig())(waves())
    torch.testing.assert_close(out.mean(1), torch.zeros(3, 80), atol=1e-5, rtol=0)


def test_mean_var_is_instance_norm_over_time():
    x = torch.randn(4, 30, 80)
    expected = torch.nn.functional.instance_norm(x.transpose(1, 2), eps=1e-5).transpose(1, 2)
    torch.testing.assert_close(Frontend(FrontendConfig(norm="mean_var"))(x), expected, atol=2e-6, rtol=1e-5)


def test_a_constant_band_is_zero_not_nan():
    out = Frontend(FrontendConfig(norm="mean_var"))(torch.full((1, 20, 80), -13.8))
    assert out.abs().max() < 1e-2


def test_the_floor_raises_silence_before_the_mean():
    x = torch.tensor([-16.0, 2.0]).repeat(80, 1).T[None]  # (1, 2, 80)
    out = Frontend(FrontendConfig(log_floor=0.0))(x)
    assert out[0, :, 0].tolist() == [-1.0, 1.0]


def test_no_gradient_and_no_parameters():
    frontend = Frontend(FrontendConfig())
    assert not list(frontend.parameters())
    assert not frontend(torch.randn(1, 9, 80, requires_grad=True)).requires_grad


def test_half_precision_storage_and_autocast_do_not_blur_the_mean():
    x = 20 + torch.randn(2, 30, 80)
    exact = Frontend(FrontendConfig())(x.half().float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Frontend(FrontendConfig())(x.half()), exact)


@pytest.mark.parametrize("shape", [(2, 30, 40), (2, 3, 30, 80)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match="wrong shape"):
        Frontend(FrontendConfig())(torch.zeros(shape))


def test_a_config_survives_its_yaml_form():
    config = FrontendConfig(FbankConfig(num_mel_bins=40), norm="mean_var", log_floor=-3.0)
    assert build(FrontendConfig, to_dict(config)) == config
