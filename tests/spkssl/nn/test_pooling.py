import pytest
import torch

from spkssl.nn.pooling import AttentiveStats, StatsPooling


def test_stats_are_mean_and_unbiased_deviation():
    x = torch.tensor([[[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]])
    expected = torch.tensor([[2.0, 5.0, (1 + 1e-7) ** 0.5, 1e-7**0.5]])
    torch.testing.assert_close(StatsPooling(2)(x), expected)


def test_stats_of_one_frame_are_finite():
    assert StatsPooling(3)(torch.randn(2, 3, 1)).isfinite().all()


def by_definition(pool: AttentiveStats, x: torch.Tensor) -> torch.Tensor:
    """Context repeated in every frame and multiplied there, as the paper writes it."""
    context = [x.mean(2, keepdim=True), x.var(2, keepdim=True, correction=pool.context_correction)]
    context[1] = context[1].clamp(min=pool.var_floor).sqrt()
    hidden = pool.squeeze(torch.cat([x, *(c.expand_as(x) for c in context)], 1))
    w = torch.softmax(pool.expand(torch.tanh(pool.norm(hidden))), 2)
    mean = (w * x).sum(2)
    var = (w * x.square()).sum(2) - mean.square()
    return torch.cat([mean, var.clamp(min=pool.var_floor).sqrt()], 1)


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("norm", [True, False])
def test_attentive_stats_follow_their_definition_with_gradients(norm, correction):
    torch.manual_seed(0)
    pool = AttentiveStats(6, 5, norm=norm, var_floor=1e-4, context_correction=correction).double()
    x = torch.randn(3, 6, 11, dtype=torch.float64, requires_grad=True)
    ours, theirs = pool(x), by_definition(pool, x)
    torch.testing.assert_close(ours, theirs)
    direction = torch.randn_like(ours)
    leaves = (x, *pool.parameters())
    for a, b in zip(
        torch.autograd.grad(ours, leaves, direction, retain_graph=True),
        torch.autograd.grad(theirs, leaves, direction),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_attention_without_scores_is_plain_mean_and_biased_deviation():
    pool = AttentiveStats(4, 3)
    torch.nn.init.zeros_(pool.expand.weight)
    x = torch.randn(2, 4, 9)
    expected = torch.cat([x.mean(2), x.std(2, correction=0)], 1)
    torch.testing.assert_close(pool(x), expected)


def test_constant_channels_stay_at_the_floor_with_finite_gradient():
    pool = AttentiveStats(4, 3)
    x = torch.ones(2, 4, 9, requires_grad=True)
    out = pool(x)
    torch.testing.assert_close(out[:, 4:], torch.full((2, 4), 1e-6))
    out.sum().backward()
    assert x.grad.isfinite().all()
