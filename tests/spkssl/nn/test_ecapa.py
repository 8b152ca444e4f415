import pytest
import torch
from torch.nn import functional as F

from spkssl.config import build, to_dict
from spkssl.errors import InputError
from spkssl.nn.ecapa import LAYOUTS, Ecapa, EcapaConfig, Gate, Res2

TAO = {"aggregation": 1536, "attention_channels": 256, "embed_norm": True}
MINI = EcapaConfig(channels=64, aggregation=128, embed_dim=96, se_channels=16, attention_channels=16, scale=4, stride=2)


def small(**changes) -> EcapaConfig:
    sizes = {"channels": 32, "embed_dim": 12, "se_channels": 8, "attention_channels": 8, "scale": 4}
    return EcapaConfig(**{**sizes, **changes})


def num_parameters(config: EcapaConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Ecapa(config, 80).parameters())


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (EcapaConfig(channels=1024, aggregation=3072, embed_dim=512), 22_733_952),  # RDINO, SDPN, SSRL
        (EcapaConfig(channels=512, embed_dim=256), 6_390_720),  # MeMo
        (EcapaConfig(layout="lgl", channels=512, **TAO), 6_978_944),
        (EcapaConfig(layout="tao", channels=1024, **TAO), 15_444_544),  # 14.73 x 2^20
    ],
)
def test_published_networks_have_their_number_of_parameters(config, expected):
    assert num_parameters(config) == expected


@pytest.mark.parametrize(("channels", "millions"), [(512, 6.19), (1024, 14.65)])
def test_wespeaker_networks_have_the_millions_of_their_table(channels, millions):
    config = EcapaConfig(layout="wespeaker", channels=channels, aggregation=1536)
    assert int(num_parameters(config) / 1e4) / 100 == millions  # the table cuts, it does not round


def test_mini_network_has_about_124_thousand_parameters():
    assert num_parameters(MINI) == pytest.approx(124_000, rel=0.01)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_every_layout_embeds_any_length_and_learns(layout):
    torch.manual_seed(0)
    net = Ecapa(small(layout=layout, embed_norm=True), 20)
    for frames in (5, 33):
        z = net(torch.randn(4, frames, 20))
        assert z.shape == (4, 12)
    z.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_an_embedding_does_not_depend_on_the_rest_of_the_batch_in_eval(layout):
    torch.manual_seed(0)
    net = Ecapa(small(layout=layout), 20).double().eval()
    x = torch.randn(5, 40, 20, dtype=torch.float64)
    one_by_one = torch.cat([net(row[None]) for row in x])
    torch.testing.assert_close(net(x), one_by_one)


def test_constant_input_stays_constant_over_time_with_reflection_only():
    torch.manual_seed(0)
    x = torch.randn(1, 20, 1).expand(1, 20, 30)
    reflect = Ecapa(small(), 20).eval().first(x)
    zeros = Ecapa(small(layout="lgl"), 20).eval().first(x)
    assert reflect.std(-1).max() < 1e-6
    assert zeros.std(-1).max() > 1e-3


@pytest.mark.parametrize("first", [True, False])
def test_res2_passes_one_chunk_and_chains_the_others(first):
    torch.manual_seed(0)
    unit = Res2(12, 3, 3, 2, LAYOUTS["speechbrain" if first else "lgl"]).eval()
    a, b, c = (x := torch.randn(2, 12, 9)).chunk(3, 1)
    f, g = unit.units
    expected = [a, f(b), g(c + f(b))] if first else [f(a), g(b + f(a)), c]
    torch.testing.assert_close(unit(x), torch.cat(expected, 1))


def test_gate_scales_each_channel_by_a_function_of_its_mean():
    torch.manual_seed(0)
    gate = Gate(6, 4, LAYOUTS["speechbrain"])
    x = torch.randn(2, 6, 7)
    squeeze, excite = gate.squeeze, gate.excite
    hidden = F.relu(x.mean(2) @ squeeze.weight[:, :, 0].T + squeeze.bias)
    weight = torch.sigmoid(hidden @ excite.weight[:, :, 0].T + excite.bias)
    torch.testing.assert_close(gate(x), x * weight[:, :, None])


def test_only_the_gate_of_lgl_is_normalised():
    assert [name for name in sorted(LAYOUTS) if LAYOUTS[name].norm_in_gate] == ["lgl"]


def test_blocks_of_lgl_read_the_sum_of_all_before():
    torch.manual_seed(0)
    net = Ecapa(small(layout="lgl"), 20).eval()
    seen = []
    for block in net.blocks:
        block.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    net(torch.randn(2, 20, 20))
    (x, x1), (in2, x2), (in3, _) = seen
    torch.testing.assert_close(in2, x + x1)
    torch.testing.assert_close(in3, x + x1 + x2)


def test_blocks_of_speechbrain_are_chained():
    net = Ecapa(small(), 20).eval()
    seen = []
    for block in net.blocks:
        block.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    net(torch.randn(2, 20, 20))
    assert seen[1][0] is seen[0][1] and seen[2][0] is seen[1][1]


def test_stride_two_halves_the_frames():
    net = Ecapa(MINI, 80).eval()
    assert net.first(torch.randn(1, 80, 150)).shape == (1, 64, 75)
    assert net(torch.randn(2, 150, 80)).shape == (2, 96)


def test_the_shortest_crop_is_embedded_and_a_shorter_one_refused():
    for config in (small(), MINI):
        net = Ecapa(config, 20).eval()
        assert net(torch.randn(2, net.min_frames, 20)).isfinite().all()
        with pytest.raises(InputError, match=f"got {net.min_frames - 1}, expected at least {net.min_frames}"):
            net(torch.randn(2, net.min_frames - 1, 20))


def test_bfloat16_autocast_gives_nearly_the_same_embedding_and_gradients():
    torch.manual_seed(0)
    net, x = Ecapa(small(), 20), torch.randn(8, 50, 20)
    exact = net(x)
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(x)
    assert F.cosine_similarity(exact, rough.float()).min() > 0.98
    rough.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_a_config_survives_its_yaml_form():
    assert build(EcapaConfig, to_dict(MINI)) == MINI


@pytest.mark.parametrize("changes", [{"channels": 30}, {"kernels": (5, 3, 2, 3)}])
def test_sizes_that_cannot_be_built_are_refused(changes):
    with pytest.raises(ValueError):
        small(**changes)
