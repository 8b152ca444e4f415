import pytest
import torch

from spkssl.losses.balance import balanced_loss, min_norm_weight


@pytest.mark.parametrize(
    ("first", "second", "alpha"),
    [((1, 0), (0, 1), 0.5), ((1, 0), (2, 0), 1.0), ((3, 0), (0, 1), 0.1), ((2, 0), (1, 0), 0.0), ((1, 2), (1, 2), 0.5)],
)
def test_small_cases(first, second, alpha):
    first, second = torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64)
    assert float(min_norm_weight(first, second)) == pytest.approx(alpha, abs=1e-12)
    assert float(min_norm_weight(second, first)) == pytest.approx(1 - alpha, abs=1e-12)


def test_weight_gives_the_shortest_joint_gradient():
    generator = torch.Generator().manual_seed(0)
    grid = torch.linspace(0, 1, 2001, dtype=torch.float64)
    for _ in range(20):
        a, b = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator)
        norms = [(w * a + (1 - w) * b).norm() for w in grid]
        best = grid[torch.stack(norms).argmin()]
        assert float(min_norm_weight(a, b)) == pytest.approx(float(best), abs=1e-3)


def test_zero_gradients_share_equally():
    assert float(min_norm_weight(torch.zeros(3), torch.zeros(3))) == 0.5


def test_balanced_loss_mixes_both_and_leaves_the_graph_for_the_backward():
    inputs = torch.tensor([1.0, 2.0], requires_grad=True)
    shared = 2 * inputs
    first, second = 3 * shared[0], shared[1]
    loss, alpha = balanced_loss(first, second, shared)
    loss.backward()
    assert float(alpha) == pytest.approx(0.1) and not alpha.requires_grad
    assert loss.item() == pytest.approx(0.1 * 6 + 0.9 * 4)
    assert torch.allclose(inputs.grad, torch.tensor([0.6, 1.8]))
