import math

import pytest
import torch
from torch.autograd import gradcheck

from spkssl.losses.dino import (
    centre_update,
    centred_targets,
    dino_loss,
    dino_loss_fused,
    distil_loss,
    entropy,
)
from spkssl.losses.sinkhorn import sinkhorn_targets

D = torch.float64
A, B = (0.1, 0.0), (0.0, 0.1)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=[1, 7 * 2, 2**20], ids=["one row at a time", "two", "all at once"], autouse=True)
def chunk(request, monkeypatch):
    monkeypatch.setattr("spkssl.losses.dino._CHUNK", request.param)


def through_identity(student, teacher, centre, teacher_temperature, student_temperature=0.1):
    eye = torch.eye(student.shape[-1], dtype=student.dtype)
    return dino_loss_fused(student, eye, teacher, eye, centre, teacher_temperature, student_temperature)


FORMS = [dino_loss, through_identity]


def by_autograd(student, teacher, centre, teacher_temperature, student_temperature=0.1):
    q = ((teacher - centre) / teacher_temperature).softmax(-1)
    s = (student / student_temperature).log_softmax(-1)
    pairs = [-(q[i] * s[v]).sum(-1).mean() for i in range(len(q)) for v in range(len(s)) if i != v]
    return torch.stack(pairs).mean()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("temperature", [0.04, 0.07])
def test_equal_logits_give_ln_k(form, temperature):
    loss = form(torch.zeros(6, 3, 8, dtype=D), torch.zeros(2, 3, 8, dtype=D), torch.zeros(8, dtype=D), temperature)
    assert float(loss) == pytest.approx(2.07944, abs=1e-5)
    assert float(loss) == pytest.approx(math.log(8), rel=1e-12)


def test_full_size_head_gives_its_ln_k():
    loss = dino_loss(torch.zeros(6, 2, 65536), torch.zeros(2, 2, 65536), torch.zeros(65536), 0.04)
    assert float(loss) == pytest.approx(11.090355, abs=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_two_unit_case_skips_the_same_view_pairs(form):
    student = torch.tensor([A, B, A, A, B, B], dtype=D).unsqueeze(1)  # (6, 1, 2)
    teacher = torch.tensor([A, B], dtype=D).unsqueeze(1)
    assert float(form(student, teacher, torch.zeros(2, dtype=D), 0.04)) == pytest.approx(0.898090, abs=1e-6)


@pytest.mark.parametrize(("teachers", "views"), [(1, 2), (2, 2), (2, 6), (3, 4)])
def test_agrees_with_a_double_loop_over_pairs(teachers, views):
    student, teacher, centre = draw(views, 5, 7), draw(teachers, 5, 7, seed=1), draw(7, seed=2)
    terms = []
    for i in range(teachers):
        for v in range(views):
            if v == i:
                continue
            for b in range(5):
                q = torch.softmax((teacher[i, b] - centre) / 0.3, 0)
                s = torch.softmax(student[v, b] / 0.2, 0)
                terms.append(-float((q * s.log()).sum()))
    assert len(terms) == 5 * (teachers * views - teachers)
    expected = pytest.approx(sum(terms) / len(terms), rel=1e-10)
    for form in FORMS:
        assert float(form(student, teacher, centre, 0.3, 0.2)) == expected


def test_gradient_is_that_of_autograd():
    teacher, centre = draw(2, 5, 7, seed=1), draw(7, seed=2)
    grads = []
    for form in (by_autograd, *FORMS):
        student = draw(4, 5, 7).requires_grad_()
        (3 * form(student, teacher, centre, 0.3)).backward()
        grads.append(student.grad)
    for ours in grads[1:]:
        assert torch.allclose(grads[0], ours, rtol=1e-9, atol=1e-14)


def test_fused_form_has_the_gradients_of_both_factors():
    teacher, head, centre = draw(2, 5, 4, seed=1), draw(7, 4, seed=3), draw(7, seed=2)
    grads = []
    for fused in (False, True):
        x, weight = draw(4, 5, 4).requires_grad_(), draw(7, 4, seed=4).requires_grad_()
        if fused:
            loss = dino_loss_fused(x, weight, teacher, head, centre, 0.3)
        else:
            loss = by_autograd(x @ weight.T, teacher @ head.T, centre, 0.3)
        (2 * loss).backward()
        grads.append((loss.detach(), x.grad, weight.grad))
    for plain, ours in zip(*grads, strict=True):
        assert torch.allclose(plain, ours, rtol=1e-9, atol=1e-14)


def test_float32_gradient_stays_close_to_float64():
    teacher, centre = draw(2, 5, 300, seed=1), draw(300, seed=2)
    exact, student = draw(4, 5, 300).requires_grad_(), draw(4, 5, 300).float().requires_grad_()
    by_autograd(exact, teacher, centre, 0.3).backward()
    dino_loss(student, teacher.float(), centre.float(), 0.3).backward()
    assert torch.allclose(exact.grad.float(), student.grad, atol=1e-6)


def test_fused_form_leaves_out_gradients_nobody_asked_for():
    x, weight = draw(3, 4, 2), draw(5, 2, seed=1)
    for want_x, want_w in ((True, False), (False, True)):
        a, w = x.clone().requires_grad_(want_x), weight.clone().requires_grad_(want_w)
        dino_loss_fused(a, w, x[:1], weight, torch.zeros(5, dtype=D), 0.2).backward()
        assert (a.grad is not None, w.grad is not None) == (want_x, want_w)
    with torch.no_grad():
        assert not dino_loss_fused(a, w, x[:1], weight, torch.zeros(5, dtype=D), 0.2).requires_grad


def test_one_graph_can_be_walked_back_more_than_once():
    for form in FORMS:
        x = draw(3, 4, 5).requires_grad_()
        loss = form(x, draw(1, 4, 5, seed=1), torch.zeros(5, dtype=D), 0.2)
        first = torch.autograd.grad(loss, x, retain_graph=True)[0]
        assert torch.equal(first, torch.autograd.grad(loss, x)[0])


def test_centre_may_be_updated_in_place_before_the_backward():
    for form in FORMS:
        x, teacher, centre = draw(3, 4, 5).requires_grad_(), draw(1, 4, 5, seed=1), draw(5, seed=2)
        expected = torch.autograd.grad(by_autograd(x, teacher, centre, 0.2), x)[0]
        loss = form(x, teacher, centre, 0.2)
        centre.zero_()
        assert torch.allclose(torch.autograd.grad(loss, x)[0], expected, rtol=1e-9)


def test_all_forms_pass_gradcheck():
    student, teacher, centre = draw(3, 2, 4).requires_grad_(), draw(2, 2, 4, seed=1), draw(4, seed=2)
    weight = draw(5, 4, seed=3).requires_grad_()
    assert gradcheck(lambda s: dino_loss(s, teacher, centre, 0.5, 0.4), (student,))
    head, wide = draw(5, 4, seed=5), draw(5, seed=4)
    assert gradcheck(lambda s, w: dino_loss_fused(s, w, teacher, head, wide, 0.5, 0.4), (student, weight))


def test_teacher_and_centre_get_no_gradient():
    for form in FORMS:
        teacher, centre = draw(2, 3, 4).requires_grad_(), draw(4).requires_grad_()
        form(draw(3, 3, 4, seed=1).requires_grad_(), teacher, centre, 0.1).backward()
        assert teacher.grad is None and centre.grad is None


def test_shared_shift_of_teacher_and_centre_changes_nothing():
    student, teacher, centre, shift = draw(3, 4, 5), draw(2, 4, 5, seed=1), draw(5, seed=2), draw(5, seed=3)
    for form in FORMS:
        assert torch.allclose(form(student, teacher, centre, 0.1), form(student, teacher + shift, centre + shift, 0.1))


def test_shift_of_one_student_row_changes_nothing():
    student, teacher = draw(3, 4, 5), draw(2, 4, 5, seed=1)
    moved = student.clone()
    moved[1, 2] += 5
    for form in FORMS:
        zero = torch.zeros(5, dtype=D)
        assert torch.allclose(form(student, teacher, zero, 0.1), form(moved, teacher, zero, 0.1))


def test_swapping_utterances_matters_only_when_done_in_some_views():
    student, teacher, zero = draw(3, 4, 5), draw(2, 4, 5, seed=1), torch.zeros(5, dtype=D)
    order = torch.tensor([1, 0, 2, 3])
    partly = student.clone()
    partly[0] = student[0, order]
    for form in FORMS:
        plain = form(student, teacher, zero, 0.1)
        assert torch.allclose(plain, form(student[:, order], teacher[:, order], zero, 0.1))
        assert not torch.allclose(plain, form(partly, teacher, zero, 0.1))


def test_no_pair_of_different_views_is_refused():
    for form in FORMS:
        with pytest.raises(ValueError, match="different views"):
            form(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), torch.zeros(3), 0.1)


def test_centre_moves_a_tenth_of_the_way_to_the_mean():
    logits = torch.arange(48, dtype=D).reshape(6, 8)
    assert torch.allclose(centre_update(torch.zeros(8, dtype=D), logits), torch.linspace(2.0, 2.7, 8, dtype=D))
    assert torch.allclose(centre_update(torch.zeros(8), torch.ones(2, 3, 8)), torch.full((8,), 0.1))


def test_centre_is_the_mean_over_ranks_of_unequal_size():
    logits, other = draw(4, 3), draw(2, 3, seed=1)
    packed = torch.cat([other.sum(0), torch.tensor([2.0], dtype=D)])
    centre = centre_update(draw(3, seed=2), logits, 0.8, lambda x: x + packed)
    assert torch.allclose(centre, 0.8 * draw(3, seed=2) + 0.2 * torch.cat([logits, other]).mean(0))


def test_centre_can_be_updated_from_what_enters_the_last_layer():
    x, weight = draw(2, 4, 3), draw(6, 3, seed=1)
    mean = x.flatten(0, 1).mean(0, keepdim=True)
    zero = torch.zeros(6, dtype=D)
    assert torch.allclose(centre_update(zero, x @ weight.T), centre_update(zero, mean @ weight.T))


def test_sinkhorn_targets_can_replace_the_centre():
    student, teacher = draw(3, 4, 5), draw(2, 4, 5, seed=1)
    targets = sinkhorn_targets(teacher, 0.1, rounds=0)
    assert torch.allclose(distil_loss(student, targets), dino_loss(student, teacher, torch.zeros(5, dtype=D), 0.1))
    assert not torch.allclose(distil_loss(student, sinkhorn_targets(teacher, 0.1)), distil_loss(student, targets))


def test_entropy_names_both_kinds_of_collapse():
    assert float(entropy(torch.eye(4))) == 0
    assert float(entropy(torch.full((3, 8), 1 / 8))) == pytest.approx(math.log(8), rel=1e-6)
    assert float(entropy(centred_targets(torch.zeros(2, 3, 8), torch.zeros(8), 0.04))) == pytest.approx(math.log(8))


def test_extreme_logits_give_finite_loss_and_gradient():
    student = torch.tensor([[[1e4, -1e4]], [[-1e4, 1e4]]]).requires_grad_()
    for form in FORMS:
        student.grad = None
        loss = form(student, torch.tensor([[[1e4, -1e4]]]), torch.zeros(2), 0.04)
        loss.backward()
        assert loss.isfinite() and student.grad.isfinite().all()
