import math

import pytest
import torch
from torch.autograd import gradcheck

from spkssl.losses.me_max import me_max
from spkssl.losses.prototypes import prototype_logits, prototype_loss, prototype_targets

D = torch.float64
E2 = torch.eye(2, dtype=D)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def losses(vectors, prototypes=E2, rounds=3):
    targets = prototype_targets(vectors, prototypes, rounds=rounds)
    result = prototype_loss(vectors.expand(4, *vectors.shape), prototypes, targets)
    return float(result.loss), float(me_max(result.mean_probs))


def test_vectors_on_their_prototypes():
    loss, spread = losses(E2)
    assert loss == pytest.approx(4.5398e-5, rel=1e-4)
    assert loss == pytest.approx(math.log(1 + math.exp(-10)), rel=1e-6)
    assert spread == pytest.approx(0, abs=1e-12)


def test_two_vectors_one_between_the_prototypes():
    vectors = torch.tensor([[1, 0], [0.6, 0.8]], dtype=D)
    p = prototype_logits(vectors, E2, 0.1).softmax(-1)
    assert torch.allclose(p[1], torch.tensor([0.119203, 0.880797], dtype=D), atol=1e-6)
    sharp = prototype_targets(vectors, E2, rounds=0)
    assert torch.allclose(sharp[1], torch.tensor([3.35350e-4, 0.99966465], dtype=D), atol=1e-6)
    assert torch.allclose(prototype_targets(vectors, E2)[1], torch.tensor([3.347e-4, 0.999665], dtype=D), atol=2e-6)
    loss, spread = losses(vectors)
    assert loss == pytest.approx(0.063821, abs=1e-6)
    assert spread == pytest.approx(0.007116, abs=1e-6)


def test_collapse_is_punished_only_thanks_to_sinkhorn():
    vectors = E2[:1].expand(2, 2)
    assert torch.allclose(prototype_targets(vectors, E2), torch.full((2, 2), 0.5, dtype=D))
    loss, spread = losses(vectors)
    assert loss == pytest.approx(5.0000454, abs=1e-6)
    assert spread == pytest.approx(0.692648, abs=1e-6)
    assert losses(vectors, rounds=0)[0] == pytest.approx(4.5e-5, rel=0.02)


def test_vectors_orthogonal_to_all_prototypes():
    prototypes = torch.eye(3, dtype=D)[:2]
    vectors = torch.eye(3, dtype=D)[2:].expand(2, 3)
    assert losses(vectors, prototypes) == (pytest.approx(math.log(2)), pytest.approx(0, abs=1e-12))


def test_sharpening_is_a_lower_temperature():
    teacher, prototypes = draw(5, 3), draw(4, 3, seed=1)
    q = prototype_logits(teacher, prototypes, 0.1).softmax(-1) ** (1 / 0.25)
    assert torch.allclose(q / q.sum(1, keepdim=True), prototype_targets(teacher, prototypes, rounds=0), atol=1e-6)


def test_agrees_with_a_loop_over_views_and_utterances():
    student, prototypes, targets = draw(3, 4, 5), draw(6, 5, seed=1), draw(4, 6, seed=2).softmax(-1)
    total, mean = 0.0, torch.zeros(6, dtype=D)
    for v in range(3):
        for j in range(4):
            s = torch.stack([torch.cosine_similarity(student[v, j], c, dim=0) for c in prototypes]) / 0.1
            p = s.softmax(0)
            total -= float((targets[j] * p.log()).sum())
            mean += p
    result = prototype_loss(student, prototypes, targets)
    assert float(result.loss) == pytest.approx(total / 12, rel=1e-10)
    assert torch.allclose(result.mean_probs, mean / 12)


def test_targets_carry_no_gradient_and_lengths_do_not_matter():
    student, teacher, prototypes = draw(2, 4, 3), draw(4, 3, seed=1), draw(5, 3, seed=2).requires_grad_()
    grads = []
    for tracked in (False, True):
        teacher = teacher.detach().requires_grad_(tracked)
        targets = prototype_targets(teacher, prototypes)
        loss = prototype_loss(student, prototypes, targets).loss
        grads.append(torch.autograd.grad(loss, prototypes)[0])
        assert not targets.requires_grad
    assert torch.equal(*grads)
    doubled = prototype_loss(student, 2 * prototypes, prototype_targets(teacher, 2 * prototypes)).loss
    assert torch.allclose(doubled, loss)


def test_prototype_loss_and_its_mean_assignment_pass_gradcheck():
    targets = draw(2, 4, seed=2).softmax(-1)

    def both(student, prototypes):
        result = prototype_loss(student, prototypes, targets, 0.5)
        return result.loss, me_max(result.mean_probs)

    assert gradcheck(both, (draw(3, 2, 3).requires_grad_(), draw(4, 3, seed=1).requires_grad_()))
