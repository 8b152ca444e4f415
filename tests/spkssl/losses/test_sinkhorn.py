import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from spkssl.losses.sinkhorn import sinkhorn, sinkhorn_targets

D = torch.float64
ROWS = torch.tensor([[0.9, 0.1], [0.8, 0.2]], dtype=D)


def draw(*shape):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(0))


class Ranks:
    """Threads that sum tensors as ranks do."""

    def __init__(self, count):
        self.barrier, self.lock, self.parts = threading.Barrier(count), threading.Lock(), []

    def reduce(self, x):
        with self.lock:
            self.parts.append(x)
        self.barrier.wait()
        total = sum(self.parts)
        self.barrier.wait()
        self.parts = []
        self.barrier.wait()
        return total


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [(1, (0.613636, 0.386364)), (2, (0.600548, 0.399452)), (3, (0.600022, 0.399978)), (60, (0.6, 0.4))],
)
def test_rounds_approach_the_equipartition(rounds, expected):
    assert torch.allclose(sinkhorn(ROWS, rounds)[0], torch.tensor(expected, dtype=D), atol=1e-6)


def test_limit_is_doubly_equal():
    assert torch.allclose(sinkhorn(ROWS, 60), torch.tensor([[0.6, 0.4], [0.4, 0.6]], dtype=D), atol=1e-9)


def test_rows_sum_to_one_and_cross_ratios_are_kept():
    q = sinkhorn(ROWS, 3)
    assert torch.allclose(q.sum(1), torch.ones(2, dtype=D))
    assert float(q[0, 0] * q[1, 1] / (q[0, 1] * q[1, 0])) == pytest.approx(2.25, rel=1e-9)


def test_order_of_rows_is_carried_through():
    rows, order = draw(7, 5).softmax(-1), torch.randperm(7, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(sinkhorn(rows[order]), sinkhorn(rows)[order])


def test_agrees_with_the_loops_of_the_definition():
    rows = draw(6, 4).softmax(-1)
    q = [[float(v) for v in column] for column in rows.T]  # K x B
    total = sum(map(sum, q))
    q = [[v / total for v in row] for row in q]
    for _ in range(3):
        q = [[v / sum(row) / 4 for v in row] for row in q]
        sums = [sum(q[k][j] for k in range(4)) for j in range(6)]
        q = [[q[k][j] / sums[j] / 6 for j in range(6)] for k in range(4)]
    expected = torch.tensor(q, dtype=D).T * 6
    assert torch.allclose(sinkhorn(rows), expected, rtol=1e-12)


def test_ranks_get_the_rows_of_the_global_batch():
    rows, ranks = draw(9, 4).softmax(-1), Ranks(2)
    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(lambda part: sinkhorn(part, 3, ranks.reduce), (rows[:4], rows[4:])))
    assert torch.allclose(torch.cat(parts), sinkhorn(rows), rtol=1e-12)
    assert not torch.allclose(sinkhorn(rows[:4]), sinkhorn(rows)[:4], rtol=1e-3)


def test_unused_prototype_stays_unused_and_finite():
    rows = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.8, 0.0]])
    q = sinkhorn(rows)
    assert q.isfinite().all() and (q[:, 2] == 0).all()
    assert torch.allclose(q.sum(1), torch.ones(2))


def test_sharp_float32_targets_stay_finite():
    logits = 40 * (2 * torch.eye(64) - 1)  # cosines of +-1 at temperature 0.025
    q = sinkhorn(logits.softmax(-1))
    assert q.isfinite().all() and torch.allclose(q.sum(1), torch.ones(64), atol=1e-5)


def test_targets_from_logits_balance_all_leading_rows_and_carry_no_gradient():
    logits = draw(2, 5, 4).requires_grad_()
    q = sinkhorn_targets(logits, 0.5, rounds=50)
    assert not q.requires_grad
    assert torch.allclose(q.sum(-1), torch.ones(2, 5, dtype=D))
    assert torch.allclose(q.sum((0, 1)), torch.full((4,), 2.5, dtype=D), atol=1e-6)
    assert torch.allclose(q, sinkhorn_targets(logits + 1000, 0.5, rounds=50))
