import math

import pytest
import torch
from torch.autograd import gradcheck

from spkssl.losses.dimension import frobenius, off_diagonal

D = torch.float64


def draw(*shape):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(1, 0), (0, 1)], 0.346574),
        ([(1, 1), (2, 2), (-3, -3)], 0.693147),
        ([(1, 1), (1, -1), (1, 1)], 0.399254),
    ],
)
def test_small_cases(rows, expected):
    assert float(frobenius(torch.tensor(rows, dtype=D))) == pytest.approx(expected, abs=1e-6)


def test_both_agree_with_a_double_loop():
    x = draw(7, 4)
    energy = sum(
        float(x[:, i] @ x[:, j] / (x[:, i].norm() * x[:, j].norm())) ** 2 for i in range(4) for j in range(4) if i != j
    )
    assert float(frobenius(x)) == pytest.approx(0.5 * math.log(4 + energy), rel=1e-12)
    assert float(off_diagonal(x)) == pytest.approx(energy / 4, rel=1e-12)


def test_range_is_half_ln_d_to_ln_d():
    assert float(frobenius(torch.eye(9, dtype=D))) == pytest.approx(0.5 * math.log(9))
    assert float(frobenius(draw(20, 1).expand(20, 9))) == pytest.approx(math.log(9))
    assert float(off_diagonal(torch.eye(9, dtype=D))) == 0
    assert float(off_diagonal(draw(20, 1).expand(20, 9))) == pytest.approx(8)


def test_columns_may_be_scaled():
    x = draw(7, 4)
    assert torch.allclose(frobenius(x), frobenius(x * torch.tensor([1.0, 3.0, 0.2, -7.0], dtype=D)))


def test_dead_column_gives_finite_loss_and_gradient():
    x = torch.cat([draw(5, 2), torch.zeros(5, 1, dtype=D)], 1).requires_grad_()
    loss = frobenius(x)
    loss.backward()
    assert loss.isfinite() and x.grad.isfinite().all()


def test_both_pass_gradcheck():
    assert gradcheck(frobenius, (draw(5, 3).requires_grad_(),))
    assert gradcheck(off_diagonal, (draw(5, 3).requires_grad_(),))
