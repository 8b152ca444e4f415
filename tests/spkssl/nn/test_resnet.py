import pytest
import torch

from spkssl.config import build, to_dict
from spkssl.nn.resnet import ResNet, ResNetConfig


@pytest.mark.parametrize(("width", "expected"), [(16, 1_988_656), (32, 6_634_336)])
def test_resnet34_has_its_published_number_of_parameters(width, expected):
    net = ResNet(ResNetConfig(width=width, embed_dim=256), 80)
    assert sum(p.numel() for p in net.parameters()) == expected


def test_resnet34_pools_2560_statistics_at_width_16():
    assert ResNet(ResNetConfig(width=16), 80).pool.out_dim == 2560


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("mels", [40, 80, 81])
def test_any_number_of_mels_and_frames_is_embedded(mels, stride):
    net = ResNet(ResNetConfig(width=4, blocks=(1, 1, 1, 1), embed_dim=8, embed_norm=True, stride=stride), mels).eval()
    for frames in (1, 9, 50):
        z = net(torch.randn(3, frames, mels))
        assert z.shape == (3, 8) and z.isfinite().all()


def test_an_embedding_does_not_depend_on_the_rest_of_the_batch_in_eval():
    net = ResNet(ResNetConfig(width=4, blocks=(1, 1), embed_dim=8), 20).double().eval()
    x = torch.randn(4, 30, 20, dtype=torch.float64)
    torch.testing.assert_close(net(x), torch.cat([net(row[None]) for row in x]))


def test_every_parameter_gets_a_gradient():
    net = ResNet(ResNetConfig(width=4, blocks=(2, 1), embed_dim=8), 20)
    net(torch.randn(4, 30, 20)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_bfloat16_autocast_keeps_the_direction():
    net, x = ResNet(ResNetConfig(width=8, blocks=(1, 1), embed_dim=8), 20), torch.randn(4, 30, 20)
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(x)
    assert torch.nn.functional.cosine_similarity(net(x), rough.float()).min() > 0.98


def test_a_config_survives_its_yaml_form():
    config = ResNetConfig(width=8, blocks=(1, 1, 1, 1))
    assert build(ResNetConfig, to_dict(config)) == config


def test_an_empty_stage_is_refused():
    with pytest.raises(ValueError, match="every stage"):
        ResNetConfig(blocks=(2, 0))
