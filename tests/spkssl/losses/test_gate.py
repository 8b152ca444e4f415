import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from spkssl.losses.aam import aam_losses
from spkssl.losses.gate import acceptance_threshold, crossing, dynamic_threshold, gated_mean, keep_below, log_loss
from spkssl.losses.gmm1d import Mixture, fit_mixture

D = torch.float64
LOSSES = torch.tensor([0.5, 1.0, 2.5, 6.0], dtype=D)


def mixture(weights, means, stds):
    return Mixture(*(torch.tensor(part, dtype=D) for part in (weights, means, stds)))


@pytest.mark.parametrize(("threshold", "kept", "loss"), [(1, 2, 0.75), (3, 3, 1.333333), (1000, 4, 2.5), (0.1, 0, 0.0)])
def test_gate_keeps_losses_up_to_and_including_the_threshold(threshold, kept, loss):
    mask = keep_below(LOSSES, threshold)
    assert int(mask.sum()) == kept
    assert float(gated_mean(LOSSES, mask)) == pytest.approx(loss, abs=1e-6)


def test_nothing_kept_gives_zero_with_zero_gradient():
    losses = torch.tensor([5.0, float("inf")], requires_grad=True)
    total = gated_mean(losses, keep_below(losses, 0.1))
    total.backward()
    assert total.item() == 0 and (losses.grad == 0).all()


def test_nan_is_never_kept():
    assert keep_below(torch.tensor([float("nan"), 1.0]), math.inf).tolist() == [False, True]


def test_rejected_samples_get_no_gradient_and_kept_ones_that_of_a_batch_of_their_own():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, dtype=D, generator=generator)
    x = torch.randn(6, 3, dtype=D, generator=generator).requires_grad_()
    label = torch.tensor([0, 1, 2, 3, 0, 1])
    losses = aam_losses(x, weight, label, 0.2, 30.0)
    mask = keep_below(losses, float(losses.detach().median()))
    grad = torch.autograd.grad(gated_mean(losses, mask), x)[0]
    alone = x.detach()[mask].requires_grad_()
    aam_losses(alone, weight, label[mask], 0.2, 30.0).mean().backward()
    assert 0 < int(mask.sum()) < 6
    assert (grad[~mask] == 0).all() and torch.allclose(grad[mask], alone.grad)


def test_first_of_the_two_small_cases_passes_a_gate_of_three():
    assert keep_below(torch.tensor([1.284998, 10.292444]), 3).tolist() == [True, False]


def test_gated_mean_passes_gradcheck():
    mask = torch.tensor([True, False, True, True])
    assert gradcheck(lambda v: gated_mean(v, mask), (LOSSES.clone().requires_grad_(),))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50, unique=True), st.floats(0.01, 1))
def test_acceptance_threshold_keeps_the_share_it_was_asked_for(values, rate):
    losses = torch.tensor(values, dtype=D)
    kept = int(keep_below(losses, acceptance_threshold(losses, rate)).sum())
    assert kept == max(1, math.ceil(rate * len(values) - 1e-9))


@pytest.mark.parametrize("rate", [0.0, 1.2])
def test_impossible_acceptance_rates_are_refused(rate):
    with pytest.raises(ValueError, match="acceptance rate"):
        acceptance_threshold(LOSSES, rate)


@pytest.mark.parametrize(
    ("weights", "means", "stds", "expected"),
    [
        ((0.5, 0.5), (-2.0, 2.0), (1.0, 1.0), 0.0),
        ((0.8, 0.2), (-2.0, 2.0), (1.0, 1.0), 0.346574),
        ((0.7, 0.3), (-3.0, 1.5), (1.5, 0.7), 0.088126),
    ],
)
def test_crossing_lies_between_the_means(weights, means, stds, expected):
    assert crossing(mixture(weights, means, stds)) == pytest.approx(expected, abs=1e-6)


def test_crossing_gives_the_loss_gate_of_the_square_root_of_two():
    assert math.exp(crossing(mixture((0.8, 0.2), (-2.0, 2.0), (1.0, 1.0)))) == pytest.approx(1.414214, abs=1e-6)


@given(st.floats(0.02, 0.98), st.floats(0.1, 10), st.floats(0.1, 3), st.floats(0.1, 3))
def test_densities_are_equal_at_the_crossing(weight, gap, s1, s2):
    m = mixture((weight, 1 - weight), (0.0, gap), (s1, s2))
    x = crossing(m)
    ends = m.log_joint(torch.tensor([0.0, gap], dtype=D))
    signs = (ends[:, 0] - ends[:, 1]).tolist()
    if x is None:
        assert not signs[0] > 0 > signs[1]
    else:
        first, second = m.log_joint(torch.tensor(x, dtype=D)).tolist()
        assert 0 <= x <= gap and first == pytest.approx(second, abs=1e-6)


def test_no_crossing_where_one_component_hides_the_other():
    assert crossing(mixture((0.999, 0.001), (0.0, 0.1), (1.0, 1.0))) is None
    assert crossing(mixture((0.5, 0.5), (1.0, 1.0), (1.0, 1.0))) is None


def sample(seed=0, counts=(7000, 3000)):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(-3, 1.5, counts[0]), rng.normal(1.5, 0.7, counts[1])])
    return torch.from_numpy(x)


def test_threshold_of_a_sample_is_near_the_true_crossing():
    assert crossing(fit_mixture(sample())) == pytest.approx(0.088126, abs=0.1)
    assert dynamic_threshold(sample().exp()) == pytest.approx(0.088126, abs=0.1)


def test_dynamic_threshold_is_used_on_log_losses():
    losses = sample().exp()
    mask = keep_below(log_loss(losses), dynamic_threshold(losses))
    assert torch.equal(mask, losses <= math.exp(dynamic_threshold(losses)))


@pytest.mark.parametrize(
    "losses",
    [
        sample().exp()[:400],
        torch.full((1000,), 2.0),
        torch.zeros(1000),
        torch.full((1000,), float("inf")),
        sample(counts=(9990, 10)).exp(),
        torch.from_numpy(np.random.default_rng(0).normal(0, 1, 2000)).exp(),
    ],
    ids=["few", "equal", "zero", "infinite", "accepts all", "one mode"],
)
def test_untrustworthy_fits_give_no_threshold(losses):
    assert dynamic_threshold(losses, min_separation=2.0) is None


def test_vanishing_losses_do_not_claim_a_component():
    losses = torch.cat([sample().exp(), torch.full((800,), 1e-11)])
    assert dynamic_threshold(losses) == pytest.approx(0.088126, abs=0.1)


def test_log_loss_of_zero_is_finite():
    assert float(log_loss(torch.zeros(1))) == pytest.approx(math.log(1e-12))
