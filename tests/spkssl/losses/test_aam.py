import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from spkssl.losses.aam import aam_logits, aam_losses, add_angle, class_cosines, cross_entropies, weighted_mean

D = torch.float64


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def one(cosines, label, scale, margin=0.2):
    logits = aam_logits(torch.tensor([cosines], dtype=D), torch.tensor([label]), margin, scale)
    return logits, float(cross_entropies(logits, torch.tensor([label])))


def test_angle_is_added_up_to_the_threshold_and_continued_beyond_it():
    assert float(add_angle(torch.tensor(0.5, dtype=D), 0.2)) == pytest.approx(0.317981, abs=1e-6)
    assert float(add_angle(torch.tensor(-0.99, dtype=D), 0.2)) == pytest.approx(-1.0297339, abs=1e-7)
    assert math.cos(math.pi - 0.2) == pytest.approx(-0.980067, abs=1e-6)


def test_angle_addition_agrees_with_arccos_and_falls_with_the_angle():
    theta = torch.linspace(0.01, math.pi, 500, dtype=D)
    phi = add_angle(theta.cos(), 0.2)
    near = theta + 0.2 < math.pi
    assert torch.allclose(phi[near], (theta[near] + 0.2).cos(), atol=1e-9)
    assert (phi.diff() < 0).all()


@given(st.floats(-1.01, 1.01), st.floats(0, 0.5))
def test_angle_addition_is_finite_with_a_finite_slope_even_beyond_unit_cosine(cosine, margin):
    x = torch.tensor(cosine, requires_grad=True)
    phi = add_angle(x, margin)
    phi.backward()
    assert phi.isfinite() and x.grad.isfinite()


def test_no_margin_leaves_the_cosines():
    x = draw(5).tanh()
    assert torch.equal(add_angle(x, 0.0), x)


@pytest.mark.parametrize(
    ("label", "scale", "logits", "loss"),
    [
        (0, 30.0, (9.539418, 10.5, 3.0), 1.284998),
        (1, 30.0, None, 10.292444),
        (0, 32.0, (10.17538, 11.2, 3.2), 1.331567),
    ],
)
def test_small_case_with_margin(label, scale, logits, loss):
    got, value = one([0.5, 0.35, 0.1], label, scale)
    assert value == pytest.approx(loss, abs=1e-6)
    if logits:
        assert torch.allclose(got[0], torch.tensor(logits, dtype=D), atol=1e-5)


def test_margin_can_turn_the_arg_max_of_the_teacher():
    cosine = torch.tensor([[0.5, 0.35, 0.1]])
    assert int(aam_logits(cosine, torch.tensor([0]), 0.2, 32.0).argmax()) == 1
    assert int(aam_logits(cosine, None, 0.2, 32.0).argmax()) == 0


def test_three_classes_at_both_scales():
    assert one([0.5, 0.3, -0.1], 0, 32.0)[1] == pytest.approx(0.446283, abs=1e-6)
    assert one([0.5, 0.3, -0.1], 0, 30.0)[1] == pytest.approx(0.459379, abs=1e-6)
    assert one([0.5, 0.3, -0.1], 0, 32.0, margin=0.0)[1] == pytest.approx(0.001660, abs=1e-6)


@pytest.mark.parametrize(("k", "floor"), [(100, 10.555226), (200, 11.253398), (6000, 14.659428)])
def test_loss_at_zero_cosines(k, floor):
    assert one([0.0] * k, 0, 30.0)[1] == pytest.approx(floor, abs=1e-6)


def test_agrees_with_a_loop_over_samples_and_classes():
    x, weight, label = draw(5, 3), draw(4, 3, seed=1), torch.tensor([0, 3, 1, 1, 2])
    got = aam_losses(x, weight, label, 0.3, 20.0)
    for b in range(5):
        logits = []
        for k in range(4):
            c = float(torch.cosine_similarity(x[b], weight[k], dim=0))
            theta = math.acos(c)
            if k == label[b]:
                c = math.cos(theta + 0.3) if theta + 0.3 < math.pi else c - 0.3 * math.sin(math.pi - 0.3)
            logits.append(20.0 * c)
        expected = math.log(sum(map(math.exp, logits))) - logits[label[b]]
        assert float(got[b]) == pytest.approx(expected, rel=1e-9)


def test_removed_class_has_no_probability_and_no_gradient_and_could_be_deleted():
    x, weight, label = draw(5, 3), draw(4, 3, seed=1).requires_grad_(), torch.tensor([0, 3, 1, 1, 0])
    removed = torch.tensor([False, False, True, False])
    probability = aam_logits(class_cosines(x, weight), label, 0.2, 32.0, removed).softmax(-1)
    assert (probability[:, 2] == 0).all()
    losses = aam_losses(x, weight, label, 0.2, 32.0, removed)
    losses.sum().backward()
    assert (weight.grad[2] == 0).all() and weight.grad.isfinite().all()
    deleted = aam_losses(x, weight.detach()[[0, 1, 3]], torch.tensor([0, 2, 1, 1, 0]), 0.2, 32.0)
    assert torch.allclose(losses, deleted, rtol=1e-12)


def test_loss_of_a_removed_label_is_infinite_and_harmless_at_weight_zero():
    x, weight = draw(2, 3).requires_grad_(), draw(3, 3, seed=1)
    losses = aam_losses(x, weight, torch.tensor([0, 2]), 0.2, 32.0, torch.tensor([False, False, True]))
    assert losses[1].isinf()
    total = weighted_mean(losses, torch.tensor([1.0, 0.0]))
    total.backward()
    assert torch.allclose(total, losses[0]) and x.grad.isfinite().all() and (x.grad[1] == 0).all()


def test_sub_centres_count_by_the_nearest():
    x, weight = draw(5, 3), draw(4, 2, 3, seed=1)
    slow = torch.stack([class_cosines(x, weight[:, s]) for s in range(2)]).amax(0)
    assert torch.equal(class_cosines(x, weight), slow)
    assert torch.allclose(class_cosines(x, weight[:, :1]), class_cosines(x, weight[:, 0]))


def test_permuting_classes_and_head_together_changes_nothing():
    x, weight, label = draw(6, 3), draw(4, 3, seed=1).requires_grad_(), torch.tensor([0, 3, 1, 1, 2, 0])
    order = torch.tensor([2, 0, 3, 1])  # new class k was old class order[k]
    new_label = order.argsort()[label]
    plain, moved = weight, weight[order].detach().requires_grad_()
    a = aam_losses(x, plain, label, 0.2, 30.0).mean()
    b = aam_losses(x, moved, new_label, 0.2, 30.0).mean()
    a.backward()
    b.backward()
    assert torch.allclose(a, b) and torch.allclose(plain.grad[order], moved.grad)
    assert not torch.allclose(a, aam_losses(x, plain, new_label, 0.2, 30.0).mean())


def test_embedding_on_its_class_centre_gives_finite_gradients():
    for sign in (1, -1):
        x = draw(3, 4).float().requires_grad_()
        weight = (sign * x.detach()).requires_grad_()
        aam_losses(x, weight, torch.arange(3), 0.2, 32.0).sum().backward()
        assert x.grad.isfinite().all() and weight.grad.isfinite().all()


def test_weighted_mean_small_case_and_its_scale():
    losses, weights = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 0.5, 0.0])
    assert float(weighted_mean(losses, weights)) == pytest.approx(1.333333, abs=1e-6)
    assert float(weighted_mean(losses, 10 * weights)) == pytest.approx(1.333333, abs=1e-6)
    assert float(weighted_mean(losses, torch.ones(3))) == pytest.approx(7 / 3)


def test_weighted_mean_of_nothing_is_zero_with_zero_gradient():
    losses = torch.tensor([1.0, float("inf")], requires_grad=True)
    total = weighted_mean(losses, torch.zeros(2))
    total.backward()
    assert total.item() == 0 and (losses.grad == 0).all()


def test_margin_losses_pass_gradcheck():
    x, weight = draw(4, 3).requires_grad_(), draw(5, 3, seed=1).requires_grad_()
    label, removed = torch.tensor([0, 3, 1, 1]), torch.tensor([False, False, True, False, False])
    assert gradcheck(lambda a, w: aam_losses(a, w, label, 0.2, 10.0, removed), (x, weight))
    assert gradcheck(lambda c: add_angle(c, 0.2), (torch.tensor([-0.995, -0.5, 0.9], dtype=D, requires_grad=True),))
    sub = draw(5, 2, 3, seed=2).requires_grad_()
    assert gradcheck(lambda a, w: aam_losses(a, w, label, 0.2, 10.0), (x, sub))
    assert gradcheck(lambda v: weighted_mean(v, torch.tensor([1.0, 0.2, 0.0, 3.0])), (draw(4).requires_grad_(),))
