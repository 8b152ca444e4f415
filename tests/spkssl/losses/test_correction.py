import pytest
import torch
from torch.autograd import gradcheck

from spkssl.losses.aam import aam_logits, cross_entropies
from spkssl.losses.correction import corrected_losses, corrected_mean, predict
from spkssl.losses.gate import gated_mean

D = torch.float64


def draw(*shape):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(0))


def test_sharp_prediction_is_confident_and_flat_one_is_not():
    logits = torch.tensor([[0.62, 0.55, 0.10, 0.0]], dtype=D)
    p = (logits / 0.1).softmax(-1)
    assert torch.allclose(p, torch.tensor([[0.664836, 0.330148, 0.003668, 0.001349]], dtype=D), atol=1e-6)
    sharp, flat = predict(logits), predict(logits, temperature=1.0)
    assert bool(sharp.confident) and int(sharp.label) == 0
    assert float(sharp.confidence) == pytest.approx(0.664836, abs=1e-6)
    assert not bool(flat.confident) and float(flat.confidence) == pytest.approx(0.326279, abs=1e-6)


@pytest.mark.parametrize(("k", "confidence"), [(100, 0.803), (7500, 0.051)])
def test_confidence_of_a_cosine_depends_on_the_number_of_classes(k, confidence):
    cosine = torch.zeros(1, k, dtype=D)
    cosine[0, 3] = 0.6
    assert float(predict(cosine).confidence) == pytest.approx(confidence, abs=1e-3)
    assert bool(predict(30 * cosine, temperature=1.0).confident)


def test_prediction_carries_no_gradient():
    assert not predict(draw(3, 4).requires_grad_()).confidence.requires_grad


def test_small_case_of_gate_and_correction():
    losses, keep = torch.tensor([0.2, 3.0, 2.0]), torch.tensor([True, False, False])
    corrected, confident = torch.tensor([float("nan"), 0.4, 1.0]), torch.tensor([0.0, 0.9, 0.3]) > 0.5
    assert float(corrected_mean(losses, keep, corrected, confident)) == pytest.approx(0.2)
    assert float(gated_mean(losses, keep)) == pytest.approx(0.2)


def test_nothing_kept_and_nothing_confident_is_zero_with_zero_gradient():
    losses = torch.tensor([0.2, float("inf")], requires_grad=True)
    nobody = torch.tensor([False, False])
    total = corrected_mean(losses, nobody, losses, nobody)
    total.backward()
    assert total.item() == 0 and (losses.grad == 0).all()


def test_kept_samples_are_not_corrected():
    losses, corrected, everybody = draw(4), draw(4) + 9, torch.ones(4, dtype=torch.bool)
    assert torch.equal(corrected_mean(losses, everybody, corrected, everybody), losses.mean())


def test_corrected_loss_has_its_margin_on_the_corrected_label():
    cosine, old, new = draw(3, 5).tanh(), torch.tensor([0, 1, 2]), torch.tensor([4, 1, 0])
    ours = corrected_losses(cosine, old, new, 0.2, 30.0)
    assert torch.equal(ours, cross_entropies(aam_logits(cosine, new, 0.2, 30.0), new))
    published = corrected_losses(cosine, old, new, 0.2, 30.0, margin_on_given=True)
    assert torch.equal(published, cross_entropies(aam_logits(cosine, old, 0.2, 30.0), new))
    changed = old != new
    assert (published[changed] < ours[changed]).all() and torch.equal(published[~changed], ours[~changed])


def test_agrees_with_a_loop():
    losses, corrected = draw(6).abs(), draw(6).abs() + 1
    keep = torch.tensor([True, True, False, False, False, True])
    confident = torch.tensor([True, False, True, False, True, False])
    total = 0.0
    for i in range(6):
        total += float(losses[i]) if keep[i] else (float(corrected[i]) if confident[i] else 0.0)
    assert float(corrected_mean(losses, keep, corrected, confident)) == pytest.approx(total / 6)


def test_correction_passes_gradcheck():
    cosine = (draw(3, 4).tanh() * 0.9).requires_grad_()
    old, new = torch.tensor([0, 1, 2]), torch.tensor([3, 1, 0])
    keep, confident = torch.tensor([True, False, False]), torch.tensor([True, True, False])

    def loss(c):
        given = cross_entropies(aam_logits(c, old, 0.2, 5.0), old)
        return corrected_mean(given, keep, corrected_losses(c, old, new, 0.2, 5.0), confident)

    assert gradcheck(loss, (cosine,))
