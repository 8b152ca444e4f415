import math

import pytest
import torch
from torch.autograd import gradcheck

from spkssl.losses.nt_xent import (
    angular_prototypical,
    enqueue,
    memo_contrastive,
    moco_logits,
    moco_loss,
    nt_xent,
    nt_xent_rows,
    nt_xent_scaled,
)

D = torch.float64
E2 = torch.eye(2, dtype=D)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def cos(a, b):
    return (a @ b / (a.norm() * b.norm())).item()


def slow_nt_xent(first, second, scale, bias):
    rows = [*first, *second]
    n, total = len(rows), 0.0
    for a in range(n):
        partner = (a + n // 2) % n
        s = [scale * cos(rows[a], rows[c]) + bias for c in range(n)]
        total -= s[partner] - math.log(sum(math.exp(s[c]) for c in range(n) if c != a))
    return total / n


def test_orthonormal_pairs_give_the_closed_form():
    assert float(nt_xent(E2, E2, 0.1)) == pytest.approx(9.0796e-5, rel=1e-4)
    assert float(nt_xent(E2, E2, 0.07)) == pytest.approx(1.24975e-6, rel=1e-4)
    assert float(nt_xent(E2, E2, 0.1)) == pytest.approx(math.log(1 + 2 * math.exp(-10)), rel=1e-9)


@pytest.mark.parametrize(("rows", "expected"), [(4, 1.945910), (128, 5.541264)])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_collapse_gives_the_logarithm_of_the_candidates(rows, expected, temperature):
    same = torch.ones(rows, 3, dtype=D)
    assert float(nt_xent(same, same, temperature)) == pytest.approx(expected, abs=1e-6)


def test_nt_xent_agrees_with_a_double_loop():
    a, b = draw(5, 3), draw(5, 3, seed=1)
    assert float(nt_xent(a, b, 0.2)) == pytest.approx(slow_nt_xent(a, b, 5.0, 0.0), rel=1e-10)
    scaled = nt_xent_scaled(a, b, torch.tensor(10.0, dtype=D), torch.tensor(-5.0, dtype=D))
    assert float(scaled) == pytest.approx(slow_nt_xent(a, b, 10.0, -5.0), rel=1e-10)


def test_bias_has_no_gradient_and_scale_has_one():
    scale, bias = torch.tensor(10.0, dtype=D, requires_grad=True), torch.tensor(-5.0, dtype=D, requires_grad=True)
    nt_xent_scaled(draw(5, 3), draw(5, 3, seed=1), scale, bias).backward()
    assert abs(float(bias.grad)) < 1e-12 < abs(float(scale.grad))


def test_nt_xent_ignores_lengths_and_the_order_of_views():
    a, b = draw(5, 3), draw(5, 3, seed=1)
    assert torch.allclose(nt_xent(a, b, 0.1), nt_xent(b, a, 0.1))
    assert torch.allclose(nt_xent(a, b, 0.1), nt_xent(a * draw(5, 1).abs(), 7 * b, 0.1))


def test_nt_xent_rows_ignores_the_diagonal():
    logits = draw(6, 6)
    assert torch.equal(nt_xent_rows(logits), nt_xent_rows(logits + 100 * torch.eye(6, dtype=D)))


@pytest.mark.parametrize("rows", [2, 5])
def test_nt_xent_refuses_what_has_no_negatives_or_no_partner(rows):
    with pytest.raises(ValueError, match="two utterances"):
        nt_xent_rows(torch.zeros(rows, rows))


def test_contrastive_losses_pass_gradcheck():
    a, b = draw(3, 4).requires_grad_(), draw(3, 4, seed=1).requires_grad_()
    w, c = torch.tensor(3.0, dtype=D, requires_grad=True), torch.tensor(-1.0, dtype=D, requires_grad=True)
    assert gradcheck(lambda x, y: nt_xent(x, y, 0.3), (a, b))
    assert gradcheck(nt_xent_scaled, (a, b, w, c))
    assert gradcheck(angular_prototypical, (a, b, w, c))
    assert gradcheck(lambda x: moco_loss(x, b, draw(5, 4, seed=2), 0.3), (a,))
    assert gradcheck(lambda x: memo_contrastive(x, draw(2, 3, 4, seed=3)), (draw(2, 3, 4).requires_grad_(),))


def test_zero_embedding_gives_finite_loss_and_gradient():
    a = draw(3, 4)
    a[0] = 0
    a.requires_grad_()
    loss = nt_xent(a, draw(3, 4, seed=1), 0.1)
    loss.backward()
    assert loss.isfinite() and a.grad.isfinite().all()


def test_angular_prototypical_agrees_with_a_double_loop_and_averages_support():
    q, support = draw(4, 3), draw(4, 2, 3, seed=1)
    w, b = torch.tensor(10.0, dtype=D), torch.tensor(-5.0, dtype=D)
    mean, total = support.mean(1), 0.0
    for i in range(4):
        s = [10 * cos(q[i], mean[j]) - 5 for j in range(4)]
        total -= s[i] - math.log(sum(map(math.exp, s)))
    assert float(angular_prototypical(q, support, w, b)) == pytest.approx(total / 4, rel=1e-10)
    assert torch.equal(angular_prototypical(q, support, w, b), angular_prototypical(q, mean, w, b))


def test_angular_prototypical_never_inverts_its_scale():
    q = draw(4, 3)
    loss = angular_prototypical(q, q, torch.tensor(-3.0, dtype=D), torch.tensor(0.0, dtype=D))
    assert float(loss) == pytest.approx(math.log(4), abs=1e-5)


def test_moco_closed_forms():
    key = torch.zeros(3, 2)
    key[:, 0] = 1
    orthogonal = torch.tensor([[0.0, 1.0]]).expand(65536, 2)
    assert float(moco_loss(key, key, orthogonal, 0.07)) == pytest.approx(0.0401355, abs=1e-6)
    equal = torch.tensor([[1.0, 0.0]]).expand(65536, 2)
    assert float(moco_loss(key, key, equal, 0.07)) == pytest.approx(11.090370, abs=1e-5)


def test_moco_agrees_with_a_double_loop_and_gives_keys_no_gradient():
    q, k = draw(4, 3).requires_grad_(), draw(4, 3, seed=1).requires_grad_()
    queue = torch.nn.functional.normalize(draw(6, 3, seed=2), dim=-1)
    total = 0.0
    for i in range(4):
        s = [cos(q[i], k[i]) / 0.2] + [cos(q[i], n) / 0.2 for n in queue]
        total -= s[0] - math.log(sum(map(math.exp, s)))
    loss = moco_loss(q, k, queue, 0.2)
    loss.backward()
    assert loss.item() == pytest.approx(total / 4, rel=1e-10)
    assert k.grad is None and q.grad.abs().sum() > 0
    assert moco_logits(q, k, queue, 0.2).shape == (4, 7)


def test_queue_holds_the_last_keys_in_the_order_they_came():
    queue, pointer = torch.zeros(6, 2), 0
    keys = [torch.nn.functional.normalize(draw(4, 2, seed=s).float(), dim=-1) for s in range(4)]
    for k in keys:
        pointer = enqueue(queue, 3 * k, pointer)
    assert torch.allclose(queue.roll(-pointer, 0), torch.cat(keys)[-6:], atol=1e-6)


def test_a_batch_larger_than_the_queue_leaves_its_last_keys():
    queue = torch.zeros(3, 2)
    keys = torch.nn.functional.normalize(draw(5, 2).float(), dim=-1)
    pointer = enqueue(queue, keys, 1)
    assert torch.allclose(queue.roll(-pointer, 0), keys[-3:], atol=1e-6)


def test_memo_contrastive_closed_forms():
    both = torch.stack([E2, E2])
    assert float(memo_contrastive(both, both)) == pytest.approx(0.0012971, abs=5e-8)
    assert float(memo_contrastive(both.float(), both.float())) == pytest.approx(0.0012976, abs=1e-6)
    assert float(memo_contrastive(torch.ones(2, 2, 2), torch.ones(2, 2, 2))) == pytest.approx(15.69446, abs=1e-4)
    assert float(memo_contrastive(torch.ones(2, 30, 2), torch.ones(2, 30, 2))) == pytest.approx(58.25, abs=5e-3)
    student = torch.tensor([[[1, 0], [0.6, 0.8]], [[0.8, 0.6], [0, 1]]], dtype=D)
    # Published code, in float32, gives 0.987870; a loop in float64 gives 0.9878732.
    assert float(memo_contrastive(student, both)) == pytest.approx(0.987870, abs=5e-6)
    assert float(memo_contrastive(student, both)) == pytest.approx(0.9878732, abs=1e-7)


def test_memo_contrastive_agrees_with_a_loop_over_both_directions():
    student, teacher = draw(2, 4, 3), draw(2, 4, 3, seed=1)
    slow = sum(slow_nt_xent(teacher[i], student[1 - i], 10.0, -5.0) for i in (0, 1)) / 2 / 0.07
    assert float(memo_contrastive(student, teacher)) == pytest.approx(slow, rel=1e-10)


def test_memo_contrastive_ignores_lengths_and_bias_and_spares_the_teacher():
    student, teacher = draw(2, 4, 3).requires_grad_(), draw(2, 4, 3, seed=1).requires_grad_()
    loss = memo_contrastive(student, teacher)
    loss.backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0
    assert torch.allclose(loss, memo_contrastive(student * draw(2, 4, 1).abs(), 9 * teacher, bias=3.0))
