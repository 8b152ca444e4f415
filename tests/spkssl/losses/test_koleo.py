import math

import pytest
import torch
from torch.autograd import gradcheck

from spkssl.losses.koleo import koleo

D = torch.float64


def draw(*shape):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [([(1, 0), (0, 1), (-1, 0)], -0.346574), ([(1, 0), (0.6, 0.8), (0, -1)], -0.041143)],
)
def test_small_cases(rows, expected):
    assert float(koleo(torch.tensor(rows, dtype=D))) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("dims", "expected"), [(2, 17.5393), (512, 15.258)])
@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_identical_rows_give_the_floor(dims, expected, dtype):
    value = float(koleo(torch.ones(4, dims, dtype=dtype)))
    assert value == pytest.approx(expected, abs=1e-3)
    assert value == pytest.approx(-math.log((math.sqrt(dims) + 1) * 1e-8), abs=1e-4)


def test_agrees_with_a_double_loop():
    x = draw(6, 3)
    n = [row / row.norm() for row in x]
    total = 0.0
    for j in range(6):
        i = max((i for i in range(6) if i != j), key=lambda i: float(n[i] @ n[j]))
        total -= math.log(float((n[j] - n[i] + 1e-8).norm()) + 1e-8)
    assert float(koleo(x)) == pytest.approx(total / 6, rel=1e-10)


def test_lengths_do_not_matter():
    x = draw(6, 3)
    assert torch.allclose(koleo(x), koleo(x * draw(6, 1).abs()))


def test_leading_axes_are_separate_batches():
    x = draw(4, 5, 3)
    assert torch.allclose(koleo(x), torch.stack([koleo(view) for view in x]))


def test_both_ends_of_a_pair_are_pushed():
    x = torch.tensor([[1.0, 0.0], [0.9, 0.2], [-1.0, 0.1]], dtype=D, requires_grad=True)
    koleo(x).backward()
    # Row 2's neighbour is row 1, and rows 0 and 1 are each other's: all three move.
    assert (x.grad.norm(dim=1) > 0).all()


def test_a_lone_row_gives_zero_with_a_graph():
    x = draw(1, 3).requires_grad_()
    loss = koleo(x)
    loss.backward()
    assert loss.item() == 0 and (x.grad == 0).all()


@pytest.mark.parametrize("rows", [torch.ones(3, 4), torch.zeros(3, 4)])
def test_duplicates_and_zeros_give_finite_gradients(rows):
    rows = rows.clone().requires_grad_()
    koleo(rows).backward()
    assert rows.grad.isfinite().all()


def test_koleo_passes_gradcheck():
    assert gradcheck(koleo, (draw(5, 3).requires_grad_(),))
