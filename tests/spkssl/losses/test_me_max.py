import math

import pytest
import torch
from torch.autograd import gradcheck

from spkssl.losses.me_max import me_max

D = torch.float64


def test_mean_of_two_assignments():
    mean = torch.tensor([[0.9, 0.1], [0.3, 0.7]], dtype=D).mean(0)
    assert float(me_max(mean)) == pytest.approx(0.0201355, abs=1e-7)


@pytest.mark.parametrize("k", [2, 7, 1024])
def test_uniform_gives_zero_and_one_unit_gives_ln_k(k):
    assert float(me_max(torch.full((k,), 1 / k, dtype=D))) == pytest.approx(0, abs=1e-12)
    assert float(me_max(torch.eye(k, dtype=D)[0])) == pytest.approx(math.log(k))


def test_is_the_divergence_from_uniform():
    p = torch.tensor([0.5, 0.3, 0.2], dtype=D)
    assert float(me_max(p)) == pytest.approx(sum(v * math.log(v * 3) for v in p.tolist()), rel=1e-12)


def test_unused_prototype_has_a_finite_gradient():
    p = torch.tensor([1.0, 0.0], requires_grad=True)
    me_max(p).backward()
    assert p.grad.isfinite().all() and p.grad[1] < p.grad[0]


def test_me_max_passes_gradcheck():
    assert gradcheck(me_max, (torch.tensor([0.5, 0.3, 0.2], dtype=D, requires_grad=True),))
