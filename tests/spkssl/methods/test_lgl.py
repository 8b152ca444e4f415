import dataclasses
import math

import pytest
import torch
from torch import nn

from spkssl.config import build
from spkssl.contract import Batch, Facts, Progress
from spkssl.methods.lgl import Config, Lgl, of_round
from spkssl.nn import gating
from spkssl.nn.embedder import make_embedder, save_embedder
from spkssl.nn.gating import LossGate, MixtureConfig
from spkssl.training.optim import OptimConfig, make_optimizer

STEPS = 4


class Rows(nn.Module):
    """The crops, and a bias that only a step of the optimiser moves."""

    embed_dim = 4

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return x + self.bias


def make(encoder=Rows, classes=3, number=0, utts=8, **settings):
    torch.manual_seed(0)
    return Lgl(Config(**settings), encoder, Facts(utts, 0, classes, round=number))


def at(epoch):
    return Progress(epoch * STEPS + STEPS - 1, STEPS, 20)


def batch(rows, label):
    return Batch({"crop": rows.unsqueeze(1)}, torch.arange(len(rows)), torch.tensor(label))


def records(losses, accepted=True):
    losses = torch.as_tensor(losses)
    index = torch.arange(len(losses))
    return {"loss": losses, "accepted": torch.full(losses.shape, accepted), "label": index, "index": index}


def hand_case(threshold):
    """Cosines 0.5, 0.35, 0.1 with the three classes, twice; under label 0 and under label 1."""
    method = make(gate="threshold", thresholds=(threshold,), ungated_epochs=0)
    with torch.no_grad():
        method.classifier.weight.copy_(torch.eye(3, 4))
    row = torch.tensor([0.5, 0.35, 0.1, math.sqrt(1 - 0.5**2 - 0.35**2 - 0.1**2)])
    return method, batch(row.repeat(2, 1), [0, 1])


def test_hand_case_passes_its_first_sample_only():
    method, two = hand_case(3.0)
    step = method(two, at(0))
    assert step.records["loss"].tolist() == pytest.approx([1.284998, 10.292444], abs=1e-5)
    assert step.records["accepted"].tolist() == [True, False]
    assert step.records["label"].tolist() == [0, -1]
    assert step.loss.item() == pytest.approx(1.284998, abs=1e-5)
    assert float(step.scalars["accepted"]) == 0.5 and float(step.scalars["accuracy"]) == 1.0


@pytest.mark.parametrize(("classes", "loss"), [(100, 10.555226), (200, 11.253398), (6000, 14.659428)])
def test_loss_floor_of_a_guess(classes, loss):
    method = make(classes=classes)
    with torch.no_grad():
        method.classifier.weight.copy_(torch.eye(4)[0])
    assert method(batch(torch.eye(4)[[1, 2]], [0, 5]), at(0)).loss.item() == pytest.approx(loss, abs=1e-5)


def test_where_nothing_passes_no_step_is_made():
    method, two = hand_case(0.1)
    optimizer = make_optimizer(method, OptimConfig("adamw", weight_decay=0.5))
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    method.gate.threshold.fill_(math.inf)  # one ordinary step, so that there is momentum to go on with

    def step():
        out = method(two, at(1))
        out.loss.backward()
        method.after_backward(at(1))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return out, {name: value.clone() for name, value in method.named_parameters()}

    _, start = step()
    method.gate.threshold.fill_(-1.0)
    out, idle = step()
    assert out.loss.item() == 0 and float(out.scalars["idle"]) == 1 and float(out.scalars["accepted"]) == 0
    assert all(torch.equal(idle[name], value) for name, value in start.items())
    method.gate.threshold.fill_(math.inf)
    _, moved = step()
    assert all(not torch.equal(moved[name], value) for name, value in start.items())


def test_a_step_is_idle_only_if_all_its_micro_batches_are():
    method, two = hand_case(3.0)
    method(two, at(1)).loss.backward()
    method.gate.threshold.fill_(-1.0)
    method(two, at(1)).loss.backward()
    method.after_backward(at(1))
    assert method.encoder.bias.grad is not None and int(method.gate.taught) == 0


@pytest.mark.parametrize(
    ("gates", "idle"),
    [((-1, 3), 0), ((3, -1), 0), ((-1, -1), 1), ((-1, -1, 3, -1), 0), ((-1, -1, -1), 1), ((3, 3), 0)],
)
def test_idle_is_one_on_the_mean_over_micro_batches_only_if_none_teaches(gates, idle):
    method, two = hand_case(3.0)
    for _ in range(2):  # what one step said does not reach the next
        told = []
        for threshold in gates:
            method.gate.threshold.fill_(threshold)
            told.append(float(method(two, at(1)).scalars["idle"]))
        method.after_backward(at(1))
        assert sum(told) / len(gates) == idle


def test_mean_over_ranks_is_that_of_all_that_is_kept(monkeypatch):
    losses, mask = torch.tensor([1.0, 2.0, 3.0, 10.0]), torch.tensor([True, True, True, False])
    others = torch.tensor([7.0, 8.0, 9.0, 9.0]), torch.tensor([False, False, True, False])
    monkeypatch.setattr(gating.dist, "world_size", lambda: 2)
    monkeypatch.setattr(gating.dist, "total", lambda count: torch.tensor(4))
    parts = [LossGate(4).mean(*rank) for rank in ((losses, mask), others)]
    assert float(sum(parts) / 2) == pytest.approx((1 + 2 + 3 + 9) / 4)


def test_a_step_is_not_idle_while_another_rank_keeps_somebody(monkeypatch):
    gate, nobody = LossGate(4), (torch.tensor([1.0, 2.0]), torch.zeros(2, dtype=torch.bool))
    gate.mean(*nobody)
    assert float(gate.idle()) == 1
    gate.drop_idle_step([])
    monkeypatch.setattr(gating.dist, "total", lambda count: count + 1)
    gate.mean(*nobody)
    assert float(gate.idle()) == 0


def test_thresholds_follow_the_rounds():
    published = Config().thresholds
    assert [of_round(published, number) for number in (1, 2, 3, 4, 5, 6)] == [1, 3, 3, 5, 6, 6]
    assert of_round(published, 0) == 6  # labels given by hand are taken for clean ones
    assert make(number=1).tau == 1 and make(number=2, gate="rate", rates=(0.4, 0.6)).rate == 0.6


def thresholds(method, losses_of_epoch):
    """The gate in force in each epoch."""
    found = []
    for epoch, losses in enumerate(losses_of_epoch):
        found.append(float(method.gate.threshold))
        method.end_epoch(records(losses), at(epoch))
    return found


def test_all_labels_teach_until_the_gate_closes():
    method = make(ungated_epochs=3, number=2)
    assert thresholds(method, [[1.0, 2.0]] * 5) == [math.inf] * 3 + [3.0] * 2


def test_no_gate_never_closes():
    assert thresholds(make(gate="none", ungated_epochs=1), [[1.0, 2.0]] * 4) == [math.inf] * 4


def test_the_phase_on_all_labels_may_end_when_its_loss_stops_falling():
    falling, flat = [[8.0 / (1 + e)] for e in range(6)], [[1.0]] * 14
    method = make(ungated_epochs=20, plateau=True)
    found = thresholds(method, falling + flat)
    closed = found.index(6.0)
    assert 8 < closed < 20 and found == [math.inf] * closed + [6.0] * (20 - closed)
    assert thresholds(make(ungated_epochs=20), falling + flat) == [math.inf] * 20


def test_rate_gate_keeps_its_share_of_the_losses_of_the_epoch_before():
    losses = torch.arange(1.0, 11.0)
    method = make(gate="rate", rates=(0.45, 0.65, 0.8), ungated_epochs=1, number=2, utts=10)
    assert thresholds(method, [losses, 2 * losses, losses]) == [math.inf, 7.0, 14.0]
    assert int(method.gate.keep(losses).sum()) == 7


def mixed(seed=0):
    generator = torch.Generator().manual_seed(seed)
    low, high = torch.randn(7000, generator=generator), torch.randn(3000, generator=generator)
    return torch.cat([-3 + 1.5 * low, 1.5 + 0.7 * high]).exp()


def test_mixture_gate_stands_where_the_densities_of_the_epoch_before_cross():
    method = make(gate="gmm", ungated_epochs=1, utts=10000)
    method.end_epoch(records(mixed()), at(0))
    assert math.log(float(method.gate.threshold)) == pytest.approx(0.088126, abs=0.1)


def test_an_untrusted_mixture_leaves_the_gate_where_it_was():
    method = make(gate="gmm", ungated_epochs=1, utts=10000)
    method.end_epoch(records(torch.full((600,), 2.0)), at(0))
    assert float(method.gate.threshold) == math.inf
    method.end_epoch(records(mixed()), at(1))
    before = float(method.gate.threshold)
    method.end_epoch(records(torch.full((600,), 2.0)), at(2))
    assert float(method.gate.threshold) == before < math.inf


def test_what_is_known_of_each_utterance_is_kept():
    method = make(utts=4)
    method.end_epoch({**records([0.5, 2.0], False), "index": torch.tensor([2, 0])}, at(0))
    kept = method.per_utterance()
    assert kept["loss"].tolist() == [2.0, math.inf, 0.5, math.inf]
    assert kept["label"].tolist() == [1, -1, 0, -1] and not kept["accepted"].any()


def test_a_run_leaves_the_gate_in_its_state(toy, tmp_path):
    method = toy.run("lgl", tmp_path)
    state = method.state_dict()
    assert math.isfinite(state["gate.threshold"]) and 0 < int(state["gate.accepted"].sum()) < toy.UTTS
    assert torch.equal(state["gate.labels"] >= 0, state["gate.accepted"])


def test_renaming_clusters_together_with_their_weights_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    rows, order = torch.randn(6, 4, generator=generator), torch.tensor([2, 0, 1])
    label = [0, 1, 2, 2, 1, 0]
    method, renamed = make(), make()
    with torch.no_grad():
        renamed.classifier.weight[order] = method.classifier.weight
    loss, same = method(batch(rows, label), at(0)).loss, renamed(batch(rows, order[label].tolist()), at(0)).loss
    loss.backward()
    same.backward()
    assert same.item() == pytest.approx(loss.item())
    torch.testing.assert_close(renamed.encoder.bias.grad, method.encoder.bias.grad)


def test_every_round_starts_from_stage_one_bit_for_bit(toy, tmp_path):
    from spkssl.stages.fit import _make
    from spkssl.stages.system import System

    tiny = {"channels": 8, "aggregation": 12, "embed_dim": 6, "se_channels": 4, "attention_channels": 4, "scale": 2}
    tree = {"encoder": {"name": "ecapa", **tiny}, "retrain": {"method": {"name": "lgl"}, "start": "pretrain"}}
    system = build(System, tree)
    torch.manual_seed(5)
    stage_one = make_embedder(system.encoder, system.frontend_config)
    save_embedder(tmp_path / "encoder.pt", stage_one)
    previous = None
    for number in (1, 2):
        facts = Facts(8, 0, 4, round=number)
        method = _make(system, system.retrain, facts, tmp_path / "encoder.pt")
        for name, value in stage_one.network.state_dict().items():
            assert torch.equal(method.encoder.network.state_dict()[name], value), name
        assert not make_optimizer(method, OptimConfig("adam")).state
        assert previous is None or not torch.equal(previous, method.classifier.weight)
        with torch.no_grad():  # a round of training
            for parameter in method.parameters():
                parameter.add_(0.1)
        previous = method.classifier.weight.detach().clone()


class Toy(nn.Module):
    embed_dim = 32

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(32, 32, bias=False)

    def forward(self, x):
        return self.linear(x)


@pytest.mark.parametrize("gate", ["rate", "gmm"])
def test_the_gate_finds_clean_labels_where_a_third_is_flipped(gate):
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(20).repeat_interleave(60)
    x = torch.randn(20, 32, generator=generator)[truth] + 0.5 * torch.randn(1200, 32, generator=generator)
    flipped = torch.rand(1200, generator=generator) < 0.3
    label = torch.where(flipped, (truth + torch.randint(1, 20, (1200,), generator=generator)) % 20, truth)
    method = make(Toy, 20, utts=1200, gate=gate, rates=(0.6,), ungated_epochs=8, mixture=MixtureConfig(min_count=200))
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    for epoch in range(9):
        parts = []
        for rows in torch.randperm(1200, generator=generator).split(50):
            step = method(Batch({"crop": x[rows].unsqueeze(1)}, rows, label[rows]), at(epoch))
            optimizer.zero_grad()
            step.loss.backward()
            method.after_backward(at(epoch))
            optimizer.step()
            parts.append({**step.records, "index": rows})
        method.end_epoch({name: torch.cat([part[name] for part in parts]) for name in parts[0]}, at(epoch))
    kept = method.per_utterance()
    assert kept["loss"][flipped].median() > 3 * kept["loss"][~flipped].median()
    assert float((~flipped)[kept["accepted"]].double().mean()) >= 0.95  # 0.70 of all are clean
    assert 0.4 < float(kept["accepted"].double().mean()) < 0.85


def test_gates_that_judge_by_an_epoch_before_need_one():
    with pytest.raises(ValueError, match="ungated_epochs"):
        Config(gate="rate", ungated_epochs=0)
    with pytest.raises(ValueError, match="rates"):
        dataclasses.replace(Config(), rates=(1.2,))
