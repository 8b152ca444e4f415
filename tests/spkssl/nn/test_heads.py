import pytest
import torch
from torch.nn import functional as F

from spkssl.nn.heads import (
    CosineClassifier,
    CosineLayer,
    DinoHead,
    DinoHeadConfig,
    Discriminator,
    LinearClassifier,
    ProjectionConfig,
    ProjectionHead,
    Prototypes,
    Similarity,
    cosines,
    last_layers,
    projector,
)


def num_parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("inputs", "wide", "published"),
    [(256, 0, 22_098_176), (512, 8192, 40_980_736)],  # MeMo's heads, RDINO's head
)
def test_dino_heads_have_their_published_size_less_the_frozen_gains(inputs, wide, published):
    config = DinoHeadConfig(wide=wide)
    with torch.device("meta"):
        head = DinoHead(inputs, config)
    # The references keep one frozen gain of 1 per output as a parameter.
    assert num_parameters(head) + config.out == published


def test_sdpn_head_has_its_published_size():
    assert num_parameters(ProjectionHead(512, ProjectionConfig())) == 5_779_712


def test_aat_discriminator_has_the_sizes_of_lgl():
    assert num_parameters(Discriminator(192)) == 2 * 384 + (384 * 512 + 512) + 2 * 512 + (512 * 2 + 2)
    assert Discriminator(4, 8)(torch.randn(3, 4), torch.randn(3, 4)).shape == (3, 2)


def small_head(**changes) -> DinoHead:
    return DinoHead(6, DinoHeadConfig(**{"hidden": 16, "bottleneck": 5, "out": 40, **changes}))


@pytest.mark.parametrize("wide", [0, 12])
@pytest.mark.parametrize("norm", [True, False])
def test_dino_logits_are_cosines_whatever_the_weights(norm, wide):
    head = small_head(norm=norm, wide=wide)
    with torch.no_grad():
        head.last_layer.weight.mul_(torch.logspace(-3, 3, 40)[:, None])
    logits, z = head(torch.randn(20, 6))
    assert logits.shape == (20, 40)
    assert logits.abs().max() <= 1 + 1e-6
    torch.testing.assert_close(head.last_layer.rows().norm(dim=1), torch.ones(40))
    assert (z is None) if not wide else (z.shape == (20, 12))


def test_the_wide_layer_feeds_the_logits():
    head = small_head(wide=12)
    logits, z = head(torch.randn(8, 6))
    expected = F.normalize(head.bottleneck(z), dim=-1) @ head.last_layer.rows().T
    torch.testing.assert_close(logits, expected)


def test_hidden_weights_are_truncated_normal_and_biases_zero():
    torch.manual_seed(0)
    head = DinoHead(64, DinoHeadConfig(hidden=256, bottleneck=64, out=8))
    linears = [m for m in head.modules() if isinstance(m, torch.nn.Linear)]
    assert len(linears) == 3
    for layer in linears:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert layer.bias.abs().max() == 0
    # The default of a linear layer: uniform in +-1/sqrt(inputs).
    assert head.last_layer.weight.abs().max() <= 1 / 8
    assert head.last_layer.weight.std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.1)


def test_explicit_normalisation_has_the_gradient_of_a_weight_normed_layer():
    torch.manual_seed(0)
    layer, x = CosineLayer(5, 7).double(), torch.randn(3, 5, dtype=torch.float64)
    reference = torch.nn.Linear(5, 7, bias=False).double()
    with torch.no_grad():
        reference.weight.copy_(layer.weight)
    reference = torch.nn.utils.parametrizations.weight_norm(reference)
    torch.nn.init.ones_(reference.parametrizations.weight.original0)
    direction = torch.randn(3, 7, dtype=torch.float64)
    (layer(x) * direction).sum().backward()
    (reference(x) * direction).sum().backward()
    torch.testing.assert_close(layer.weight.grad, reference.parametrizations.weight.original1.grad)


def test_last_layers_finds_the_output_layer_of_every_head_and_nothing_else():
    pair = torch.nn.ModuleDict({"self": small_head(), "cross": small_head(wide=3)})
    found = list(last_layers(pair))
    assert [id(p) for p in found] == [id(pair["self"].last_layer.weight), id(pair["cross"].last_layer.weight)]
    assert not list(last_layers(ProjectionHead(4, ProjectionConfig(8, 3))))


def test_projection_head_returns_the_unit_vector_and_what_it_came_from():
    unit, raw = ProjectionHead(6, ProjectionConfig(hidden=16, out=5))(torch.randn(9, 6))
    torch.testing.assert_close(unit, raw / raw.norm(dim=1, keepdim=True))


def test_projector_is_optional():
    x = torch.randn(3, 6)
    assert projector(6, 0, 4)(x) is x
    assert projector(6, 5, 4)(x).shape == (3, 4)


def test_prototypes_start_in_the_box_and_their_length_does_not_matter():
    bank = Prototypes(1024, 256)
    assert bank.weight.abs().max() <= 1 / 16
    assert bank.weight.std().item() == pytest.approx(1 / 16 / 3**0.5, rel=0.02)
    x = F.normalize(torch.randn(4, 256), dim=1)
    before = bank(x)
    with torch.no_grad():
        bank.weight.mul_(2)
    torch.testing.assert_close(bank(x), before)
    torch.testing.assert_close(before, x @ bank.rows().T)


def test_prototype_cosines_of_axes():
    bank = Prototypes(2, 2)
    with torch.no_grad():
        bank.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.5]]))
    torch.testing.assert_close(bank(torch.tensor([[0.6, 0.8]])), torch.tensor([[0.6, 0.8]]))


def test_cosine_classifier_starts_xavier_and_ignores_lengths():
    torch.manual_seed(0)
    head = CosineClassifier(192, 500)
    assert head.weight.shape == (500, 192)
    assert head.weight.std().item() == pytest.approx((2 / (192 + 500)) ** 0.5, rel=0.02)
    x = torch.randn(3, 192)
    torch.testing.assert_close(head(x), head(7 * x))
    torch.testing.assert_close(head(x), F.cosine_similarity(x[:, None], head.weight[None], dim=-1))


def test_classifiers_start_from_centroids_as_they_are():
    centroids = 5 * torch.randn(4, 6)
    cosine, linear = CosineClassifier(6, 4), LinearClassifier(6, 4)
    for head in (cosine, linear):
        head.start_from(centroids)
        assert torch.equal(head.weight.detach(), centroids)
        assert head.weight.requires_grad
        with pytest.raises(ValueError, match="do not fit"):
            head.start_from(centroids[:3])
    assert (cosine(centroids).argmax(1) == torch.arange(4)).all()


def test_a_class_is_as_near_as_the_nearest_of_its_sub_centres():
    head = CosineClassifier(2, 2, sub_centres=2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, -0.8]]))
    torch.testing.assert_close(head(torch.tensor([[0.0, 2.0], [3.0, 0.0]])), torch.tensor([[1.0, 0.0], [1.0, 0.6]]))
    head.start_from(torch.eye(2))
    assert torch.equal(head.weight.detach()[0::2], torch.eye(2))


def test_linear_classifier_has_zero_bias_and_drops_only_in_training():
    head = LinearClassifier(50, 3)
    assert head.linear.bias.abs().max() == 0
    x = torch.ones(2, 50)
    assert not torch.equal(head(x), head(x))
    head.eval()
    torch.testing.assert_close(head(x), x @ head.weight.T)


def test_similarity_starts_at_ten_and_minus_five_and_may_be_fixed():
    layer = Similarity()
    assert layer(torch.tensor([1.0, 0.5])).tolist() == [5.0, 0.0]
    assert all(p.requires_grad for p in layer.parameters())
    assert not any(p.requires_grad for p in Similarity(trainable=False).parameters())


def test_cosines_stay_in_float32_under_autocast():
    x, rows = torch.randn(4, 64), torch.randn(9, 64)
    with torch.autocast("cpu", torch.bfloat16):
        out = cosines(x.bfloat16(), rows)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, cosines(x.bfloat16().float(), rows))


def test_cosine_with_a_zero_vector_is_zero_not_nan():
    assert cosines(torch.zeros(1, 3), torch.randn(2, 3)).tolist() == [[0.0, 0.0]]
