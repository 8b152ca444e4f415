import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from spkssl.contract import Progress, Step, ViewSpec
from spkssl.errors import InputError
from spkssl.methods.hooks import Hooks
from spkssl.nn.schedules import ScheduleConfig
from spkssl.training import log
from spkssl.training.health import HealthConfig
from spkssl.training.loop import LoopConfig, train
from spkssl.training.optim import OptimConfig

OPTIM = OptimConfig(lr=0.05, schedule=ScheduleConfig("constant"))
CONFIG = LoopConfig(epochs=2, batch_size=8, log_every=1, optim=OPTIM)


class Linear(Hooks):
    """A mean of squares of a linear map, without norms or coupling; records what it saw, counts what was called."""

    views = (ViewSpec("crop", 10),)

    def __init__(self, spoil=None) -> None:
        super().__init__()
        self.net = nn.Linear(8, 3)
        self.spoil = spoil  # called with (loss, t), gives the loss
        self.calls, self.epochs = [], []

    def forward(self, batch, t):
        self.calls.append(("forward", t.step))
        values = self.net(batch.views["crop"][:, 0].mean(1)).square().sum(1)  # (B,)
        loss = values.mean() if self.spoil is None else self.spoil(values.mean(), t)
        return Step(loss, {"half": loss.detach() / 2}, {"value": values.detach()})

    def after_backward(self, t):
        assert self.net.weight.grad is not None
        self.calls.append(("backward", t.step))

    def after_step(self, t):
        assert self.net.weight.grad is not None, "a hook may want the gradient"
        self.calls.append(("step", t.step))

    def end_epoch(self, records, t):
        self.calls.append(("epoch", t.step))
        self.epochs.append(records)


@pytest.fixture
def fit(toy, tmp_path):
    def run(method=None, *, wrap=None, said=None, config_hash="hash", out=None, **changes):
        torch.manual_seed(0)
        method, config = method or Linear(), replace(CONFIG, **changes)
        loader = toy.make_loader(method, labels=False, batch=config.batch_size, accumulate=config.accumulate)
        say = (said if said is not None else []).append
        train(
            method, wrap(loader) if wrap else loader, config,
            seed=0, out=out or tmp_path, device="cpu", config_hash=config_hash, names=toy.names(), say=say,
        )  # fmt: skip
        return method

    return run


def test_hooks_come_in_their_order_with_the_step_they_belong_to(fit):
    calls = fit(epochs=1).calls
    step = [("forward", 0), ("backward", 0), ("step", 0)]
    assert calls[:3] == step
    assert calls[-4:] == [("forward", 2), ("backward", 2), ("step", 2), ("epoch", 2)]
    assert len(calls) == 10


def test_an_epoch_ends_with_its_records_in_the_order_of_the_utterances(fit, toy):
    first, second = fit().epochs
    for records in (first, second):
        assert set(records) == {"index", "value"}
        assert records["index"].tolist() == list(range(toy.UTTS))
        assert records["value"].shape == (toy.UTTS,)


def test_the_log_has_a_line_per_interval_and_epoch_with_averages(fit, tmp_path):
    fit(log_every=2)
    rows = log.read(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["epoch"]) for row in rows] == [(2, 0), (3, 0), (4, 1), (6, 1)]  # none of two epochs
    assert {"lr", "loss", "half", "grad_norm", "utts_per_second", "data_wait"} <= rows[0].keys()
    assert rows[0]["half"] == pytest.approx(rows[0]["loss"] / 2, rel=1e-5)
    assert 0 <= rows[0]["data_wait"] <= 1


def test_accumulation_equals_the_whole_batch_where_nothing_couples_it(fit, tmp_path):
    whole = fit(out=tmp_path / "1")
    parts = fit(accumulate=4, out=tmp_path / "4")
    assert len(parts.calls) > 3 * len(whole.calls) / 2
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    one, other = (log.read(tmp_path / name / "metrics.jsonl") for name in "14")
    assert [row["loss"] for row in one] == pytest.approx([row["loss"] for row in other], rel=1e-5)
    assert whole.epochs[0]["index"].tolist() == parts.epochs[0]["index"].tolist()
    torch.testing.assert_close(whole.epochs[1]["value"], parts.epochs[1]["value"], rtol=1e-4, atol=1e-5)


def nan_at(step):
    return lambda loss, t: loss * (torch.nan if t.step == step else 1.0)


def test_a_loss_that_is_not_finite_stops_with_step_values_and_utterances(fit, tmp_path, toy):
    seen = []

    def look(loader):
        for epoch in range(2):
            seen.extend(micros[0].index.tolist() for micros in loader.epoch(epoch))
        return loader

    with pytest.raises(InputError) as error:
        fit(Linear(nan_at(4)), wrap=look)
    assert "\n" not in str(error.value)
    assert str(error.value) == (
        f"{tmp_path}: loss is nan at step 4 of epoch 1 (half nan); lower the learning rate, or look at the utterances "
        f"in {tmp_path / 'bad_batch.txt'}"
    )
    assert (tmp_path / "bad_batch.txt").read_text().split() == [toy.names()[row] for row in seen[4]]


def test_only_the_bad_micro_batch_is_listed(fit, tmp_path, toy):
    calls = []

    def second_bad(loss, t):
        calls.append(t.step)
        return loss * (torch.nan if len(calls) == 2 else 1.0)

    with pytest.raises(InputError, match="loss is nan at step 0"):
        fit(Linear(second_bad), accumulate=2)
    assert len((tmp_path / "bad_batch.txt").read_text().split()) == 4


def test_a_bad_gradient_of_a_finite_loss_stops_before_it_reaches_the_weights(fit, tmp_path):
    def spoil(loss, t):
        if t.step == 1:
            loss.register_hook(lambda grad: grad * torch.inf)
        return loss

    method = Linear(spoil)
    with pytest.raises(InputError, match="the gradient is not finite at step 1 of epoch 0"):
        fit(method)
    assert all(p.isfinite().all() for p in method.parameters())
    assert len((tmp_path / "bad_batch.txt").read_text().split()) == 8


@pytest.mark.parametrize("every", [0, 1, 2, 4])
def test_checkpoints_come_when_due_and_at_the_end(fit, tmp_path, every):
    fit(checkpoint_every=every, keep=0)
    steps = sorted(int(path.stem.split("-")[1]) for path in (tmp_path / "ckpt").glob("*.pt"))
    assert steps == {0: [3, 6], 1: [1, 2, 3, 4, 5, 6], 2: [2, 4, 6], 4: [4, 6]}[every]


def test_a_finished_run_is_left_as_it_is(fit, tmp_path):
    first, lines = fit(), (tmp_path / "metrics.jsonl").read_text()
    again = fit()
    assert again.calls == []
    assert (tmp_path / "metrics.jsonl").read_text() == lines
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_other_settings_start_afresh_and_forget_the_old_metrics(fit, tmp_path):
    fit(config_hash="old")
    said = []
    method = fit(config_hash="new", said=said)
    assert method.calls[0] == ("forward", 0)
    assert len(said) == 1 and "made with other settings" in said[0]
    assert [row["step"] for row in log.read(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("optim", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("dies_at", [1, 2, 3, 5])
def test_a_kill_at_any_step_changes_nothing(fit, toy, tmp_path, optim, dies_at):
    settings = dict(optim=replace(CONFIG.optim, name=optim), checkpoint_every=2, log_every=3)
    whole = fit(out=tmp_path / "whole", **settings)
    with pytest.raises(toy.Killed):
        fit(out=tmp_path / "cut", wrap=lambda loader: toy.Dying(loader, dies_at), **settings)
    said = []
    cut = fit(out=tmp_path / "cut", said=said, **settings)
    assert said == ([f"resuming after step {dies_at // 2 * 2}"] if dies_at > 1 else [])
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), cut.parameters(), strict=True))
    assert all(torch.equal(whole.epochs[-1][name], cut.epochs[-1][name]) for name in ("index", "value"))
    rows = [toy.without_timing(log.read(tmp_path / run / "metrics.jsonl")) for run in ("whole", "cut")]
    assert rows[0] == rows[1]


def test_a_damaged_checkpoint_costs_its_steps_and_nothing_else(fit, toy, tmp_path):
    whole = fit(out=tmp_path / "whole", checkpoint_every=1)
    with pytest.raises(toy.Killed):
        fit(out=tmp_path / "cut", wrap=lambda loader: toy.Dying(loader, 4), checkpoint_every=1)
    (tmp_path / "cut" / "ckpt" / "step-4.pt").write_bytes(b"half")
    said = []
    cut = fit(out=tmp_path / "cut", said=said, checkpoint_every=1)
    assert "step-4.pt" in said[0] and said[1] == "resuming after step 3"
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), cut.parameters(), strict=True))


def test_dropout_is_the_same_at_the_same_step_after_a_kill(fit, toy, tmp_path):
    class Dropping(Linear):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 3))

        after_backward = Hooks.after_backward
        after_step = Hooks.after_step

    torch.manual_seed(0)
    whole = fit(Dropping(), out=tmp_path / "whole", checkpoint_every=1)
    torch.manual_seed(0)
    with pytest.raises(toy.Killed):
        fit(Dropping(), out=tmp_path / "cut", wrap=lambda loader: toy.Dying(loader, 4), checkpoint_every=1)
    cut = fit(Dropping(), out=tmp_path / "cut", checkpoint_every=1)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), cut.parameters(), strict=True))


def test_autocast_reaches_the_method_and_only_when_asked(fit, tmp_path):
    kinds = []

    class Looking(Linear):
        def forward(self, batch, t):
            kinds.append(self.net(batch.views["crop"][:, 0]).dtype)
            return super().forward(batch, t)

    fit(Looking(), epochs=1, amp="bf16", out=tmp_path / "a")
    fit(Looking(), epochs=1, out=tmp_path / "b")
    assert set(kinds[:3]) == {torch.bfloat16} and set(kinds[3:]) == {torch.float32}


def collapse(action):
    class Collapsed(Linear):
        def forward(self, batch, t):
            loss, _, records = super().forward(batch, t)
            return Step(loss, {"embed_std": torch.tensor(0.01)}, records)

    return Collapsed(), HealthConfig(action=action, warmup=0.0, patience=2)


def test_collapse_warns_with_what_to_do(fit):
    method, health = collapse("warn")
    said = []
    fit(method, health=health, said=said)
    assert len(said) == 1
    assert said[0].startswith("warning: step 2: embed_std = 0.01 is below 0.2 for 2 log lines; embeddings collapse")


def test_collapse_stops_when_asked_to(fit, tmp_path):
    method, health = collapse("stop")
    with pytest.raises(InputError, match="stopped at step 2: embed_std = 0.01 is below"):
        fit(method, health=health)


def test_metrics_are_one_json_object_a_line(fit, tmp_path):
    fit()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 6 and all(isinstance(json.loads(line), dict) for line in lines)


def test_progress_counts_epochs_from_steps():
    t = Progress(step=7, steps_per_epoch=3, epochs=4)
    assert (t.epoch, t.total, t.fraction) == (2, 12, 7 / 12)
