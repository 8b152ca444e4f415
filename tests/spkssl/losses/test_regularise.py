import pytest
import torch
from torch.autograd import gradcheck

from spkssl.losses.regularise import covariance_energy, rdino_regulariser, variance_hinge

D = torch.float64


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def test_all_zero_gives_the_hinge_at_a_std_of_one_hundredth():
    zero = torch.zeros(5, 3, dtype=D)
    result = rdino_regulariser(zero, zero, 3)
    assert float(result.loss) == pytest.approx(9.9, abs=1e-9)
    assert float(result.variance) == pytest.approx(0.99) and float(result.covariance) == 0


def test_three_rows_in_two_dimensions():
    x = torch.tensor([(1, 0), (0, 1), (-1, -1)], dtype=D)
    result = rdino_regulariser(x, x, 2)
    assert float(result.variance) == 0
    assert float(covariance_energy(x)) == pytest.approx(2 * 0.25)
    assert float(result.loss) == pytest.approx(0.5)


@pytest.mark.parametrize("shape", [(9, 4), (4, 9), (2, 6)])
def test_both_agree_with_loops_for_wide_and_for_tall_batches(shape):
    x = draw(*shape)
    n, d = shape
    centred = x - x.mean(0)
    hinge = sum(max(0.0, 1 - float((centred[:, i] ** 2).sum() / (n - 1) + 1e-4) ** 0.5) for i in range(d)) / d
    energy = sum(float(centred[:, i] @ centred[:, j] / (n - 1)) ** 2 for i in range(d) for j in range(d) if i != j)
    assert float(variance_hinge(x)) == pytest.approx(hinge, rel=1e-10, abs=1e-15)
    assert float(covariance_energy(x)) == pytest.approx(energy, rel=1e-10)


def test_small_gram_matrix_holds_in_float32():
    x = draw(32, 512)
    assert float(covariance_energy(x.float())) == pytest.approx(float(covariance_energy(x)), rel=1e-4)


def test_hinge_is_zero_beyond_unit_std_and_shifts_do_not_matter():
    x = draw(50, 4)
    assert float(variance_hinge(x / x.std(0) * 1.01)) == 0
    assert torch.allclose(variance_hinge(x), variance_hinge(x + 100))
    assert torch.allclose(covariance_energy(x), covariance_energy(x + 100))


def test_teacher_changes_the_value_but_gets_no_gradient():
    student, teacher = draw(6, 3).requires_grad_(), (0.1 * draw(6, 3, seed=1)).requires_grad_()
    result = rdino_regulariser(student, teacher, 3)
    grad = torch.autograd.grad(result.loss, student)[0]
    assert not torch.allclose(result.loss, rdino_regulariser(student, 5 * teacher, 3).loss)
    assert torch.allclose(grad, torch.autograd.grad(rdino_regulariser(student, 5 * teacher, 3).loss, student)[0])
    rdino_regulariser(student, teacher, 3).loss.backward()
    assert teacher.grad is None


def test_parts_add_up_with_their_weights():
    result = rdino_regulariser(draw(6, 3), 0.1 * draw(6, 3, seed=1), 7, variance_weight=3.0, covariance_weight=0.5)
    assert torch.allclose(result.loss, 3 * result.variance + 0.5 * result.covariance)


def test_one_row_is_refused():
    with pytest.raises(ValueError, match="two rows"):
        variance_hinge(torch.zeros(1, 3))


def test_regulariser_passes_gradcheck_for_wide_and_for_tall_batches():
    for shape in ((6, 3), (3, 6)):
        x, y = 0.3 * draw(*shape), draw(*shape, seed=1)
        assert gradcheck(lambda s, y=y: rdino_regulariser(s, y, 4).loss, (x.requires_grad_(),))
