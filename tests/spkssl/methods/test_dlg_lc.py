import math

import pytest
import torch
from torch import nn

from spkssl.contract import Batch, Facts, Progress
from spkssl.data.views import groups_of
from spkssl.losses.aam import aam_logits, cross_entropies
from spkssl.methods.dlg_lc import Config, DlgLc

STEPS = 4


class Rows(nn.Module):
    """The crops, turned by a matrix; remembers whether gradients were asked of each pass."""

    embed_dim = 5

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(5))
        self.passes = []

    def forward(self, x):
        self.passes.append(torch.is_grad_enabled())
        return x @ self.matrix


def make(classes=4, utts=10000, **settings):
    torch.manual_seed(0)
    method = DlgLc(Config(**settings), Rows, Facts(utts, 0, classes))
    with torch.no_grad():
        method.classifier.weight.copy_(torch.eye(classes, 5))
    return method


def at(epoch):
    return Progress(epoch * STEPS + STEPS - 1, STEPS, 15)


def batch(crop, clean, label):
    views = {"crop": crop.unsqueeze(1), "clean": clean.unsqueeze(1)}
    return Batch(views, torch.arange(len(crop)), torch.tensor(label))


def records(losses):
    index = torch.arange(len(losses))
    return {"loss": losses, "accepted": torch.ones(len(losses), dtype=torch.bool), "label": index, "index": index}


def unit(cosines):
    """A unit vector with these cosines with the first axes."""
    rest = math.sqrt(1 - sum(c * c for c in cosines))
    return torch.tensor([*cosines, rest])


def mixed(shift=0.0):
    generator = torch.Generator().manual_seed(0)
    low, high = torch.randn(7000, generator=generator), torch.randn(3000, generator=generator)
    return (torch.cat([-3 + 1.5 * low, 1.5 + 0.7 * high]) + shift).exp()


def draw(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    crops = torch.randn(2, count, 5, generator=generator)
    return batch(*crops, torch.randint(0, 4, (count,), generator=generator).tolist())


def test_epochs_without_gate_with_gate_and_with_correction():
    method, two = make(), draw(2)
    seen = []
    for epoch in range(15):
        method.encoder.passes.clear()
        method(two, at(epoch))
        seen.append((math.isinf(method.gate.threshold), len(method.encoder.passes)))
        method.end_epoch(records(mixed()), at(epoch))
    # epochs 1-4, 5-8, 9-15 of the publication, counted from 1
    assert seen == [(True, 1)] * 4 + [(False, 1)] * 4 + [(False, 2)] * 7


def test_the_gate_of_an_epoch_depends_on_the_losses_of_the_one_before_alone():
    method = make(ungated_epochs=1)
    for epoch, shift in enumerate([0.0, 2.0, -1.0]):
        method.end_epoch(records(mixed(shift)), at(epoch))
        now = float(method.gate.threshold)
        assert math.log(now) == pytest.approx(0.088126 + shift, abs=0.1)
        method(draw(64, seed=epoch), at(epoch + 1))
        assert float(method.gate.threshold) == now


def test_a_guess_is_confident_by_the_cold_softmax_and_not_by_the_warm_one():
    row = unit([0.62, 0.55, 0.10, 0.0]).repeat(2, 1)
    for temperature, taught in ((0.1, 0), (1.0, -1)):
        method = make(temperature=temperature)
        method.gate.threshold.fill_(1.0)
        step = method(batch(row, row, [3, 3]), at(9))
        assert step.records["label"].tolist() == [taught] * 2 and not step.records["accepted"].any()


def test_the_guess_is_made_of_the_clean_crop_without_gradient():
    method = make()
    method.gate.threshold.fill_(1e-9)
    noisy, clean = unit([0.0, 0.9, 0.0, 0.0]), unit([0.9, 0.0, 0.0, 0.0])
    step = method(batch(noisy.repeat(2, 1), clean.repeat(2, 1), [2, 2]), at(9))
    assert step.records["label"].tolist() == [0, 0]
    assert method.encoder.passes == [True, False]


@pytest.mark.parametrize("margin_on_given", [False, True])
def test_corrected_loss_is_that_of_a_loop(margin_on_given):
    method = make(temperature=0.1, margin_on_given=margin_on_given)
    method.gate.threshold.fill_(8.0)
    many = draw(40)
    step = method(many, at(9))
    total, kinds = 0.0, set()
    for crop, clean, label in zip(many.views["crop"][:, 0], many.views["clean"][:, 0], many.label, strict=True):
        cosine = torch.nn.functional.normalize(crop, dim=0)[None, :4]
        guess = (torch.nn.functional.normalize(clean, dim=0)[:4] / 0.1).softmax(dim=0)
        corrected = guess.argmax()[None]
        loss = cross_entropies(aam_logits(cosine, label[None], 0.2, 30.0), label[None])
        if loss <= 8.0:
            total, kind = total + float(loss), "kept"
        elif guess.max() > 0.5:
            carries = label[None] if margin_on_given else corrected
            total += float(cross_entropies(aam_logits(cosine, carries, 0.2, 30.0), corrected))
            kind = "corrected"
        else:
            kind = "unused"
        kinds.add(kind)
    assert kinds == {"kept", "corrected", "unused"}
    assert step.loss.item() == pytest.approx(total / 40, rel=1e-4)
    used = step.records["label"] >= 0
    assert float(step.scalars["corrected"]) == pytest.approx(float((used & ~step.records["accepted"]).float().mean()))


def test_the_gate_alone_divides_by_what_is_kept():
    method, many = make(), draw(40)
    method.gate.threshold.fill_(8.0)
    step = method(many, at(5))
    losses, kept = step.records["loss"], step.records["accepted"]
    assert 0 < int(kept.sum()) < 40
    assert step.loss.item() == pytest.approx(float(losses[kept].mean()), rel=1e-5)


def test_where_nothing_teaches_no_step_is_made():
    method = make(temperature=10.0)
    method.gate.threshold.fill_(-1.0)
    step = method(draw(4), at(9))
    step.loss.backward()
    method.after_backward(at(9))
    assert step.loss.item() == 0 and float(step.scalars["idle"]) == 1
    assert all(parameter.grad is None for parameter in method.parameters())


def test_corrections_alone_make_a_step():
    method = make(temperature=0.01)
    method.gate.threshold.fill_(-1.0)
    step = method(draw(4), at(9))
    step.loss.backward()
    method.after_backward(at(9))
    assert float(step.scalars["idle"]) == 0 and method.classifier.weight.grad.abs().max() > 0


@pytest.mark.parametrize(("gates", "idle"), [((-1, 1e9), 0), ((1e9, -1), 0), ((-1, -1), 1)])
def test_idle_is_one_on_the_mean_over_micro_batches_only_if_none_teaches(gates, idle):
    method = make(confidence=1.0)
    told = []
    for threshold in gates:
        method.gate.threshold.fill_(threshold)
        told.append(float(method(draw(4), at(9)).scalars["idle"]))
    assert sum(told) / len(gates) == idle


def test_one_mode_of_losses_means_no_gate_and_nothing_to_correct():
    method = make()
    method.end_epoch(records(torch.full((600,), 2.0)), at(3))
    step = method(draw(8), at(9))
    assert step.records["accepted"].all() and float(step.scalars["corrected"]) == 0
    assert step.loss.item() == pytest.approx(float(step.records["loss"].mean()), rel=1e-5)


def test_the_clean_crop_is_the_augmented_one_before_augmentation(toy):
    method = toy.make("dlg_lc")
    crop, clean = method.views
    assert crop.augment and not clean.augment
    assert groups_of(method.views)["crop"] == groups_of(method.views)["clean"]
    micros = next(iter(toy.make_loader(method, labels=True).epoch(0)))
    assert torch.equal(micros[0].views["crop"], micros[0].views["clean"])


@pytest.mark.parametrize("epochs", [(0, 8), (5, 4)])
def test_phases_out_of_order_are_refused(epochs):
    with pytest.raises(ValueError, match="ungated_epochs"):
        Config(ungated_epochs=epochs[0], uncorrected_epochs=epochs[1])
