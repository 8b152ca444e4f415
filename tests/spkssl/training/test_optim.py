import pytest
import torch
from torch import nn

from spkssl.contract import Progress
from spkssl.nn.schedules import ScheduleConfig
from spkssl.training.optim import OptimConfig, clip_gradients, make_optimizer, set_lr

CONSTANT = ScheduleConfig("constant")


class Net(nn.Module):
    """Two layers and a norm; the second group as the test wants it."""

    def __init__(self, **second) -> None:
        super().__init__()
        self.one, self.norm, self.two = nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)
        self.second = second

    def param_groups(self):
        first = [*self.one.parameters(), *self.norm.parameters()]
        return [{"params": first}, {"params": list(self.two.parameters()), **self.second}]


def names(net, params):
    known = {id(p): name for name, p in net.named_parameters()}
    return sorted(known[id(p)] for p in params)


def group_of(net, optimizer):
    return {name: g for g in optimizer.param_groups for name in names(net, g["params"])}


def give_gradients(net, **norms):
    """A gradient of this norm for each parameter named (dots as underscores), none for the others."""
    for name, parameter in net.named_parameters():
        norm = norms.get(name.replace(".", "_"))
        if norm is not None:
            parameter.grad = torch.full_like(parameter, norm / parameter.numel() ** 0.5)


def test_only_matrices_decay():
    net = Net()
    found = group_of(net, make_optimizer(net, OptimConfig(weight_decay=0.1)))
    decays = {name: group["weight_decay"] for name, group in found.items()}
    assert {name for name, decay in decays.items() if decay} == {"one.weight", "two.weight"}
    assert set(decays) == {name for name, _ in net.named_parameters()}


def test_everything_decays_if_asked_and_nothing_of_a_group_that_refuses():
    net = Net(decay=False)
    found = group_of(net, make_optimizer(net, OptimConfig(weight_decay=0.1, decay_1d=True)))
    assert all(bool(group["weight_decay"]) == (not name.startswith("two")) for name, group in found.items())


def test_a_group_scales_the_rate():
    net = Net(lr_scale=10.0)
    config = OptimConfig(lr=0.5, lr_batch=64, schedule=CONSTANT)
    optimizer = make_optimizer(net, config)
    assert set_lr(optimizer, config, 128, Progress(0, 1, 1)) == 1.0
    rates = {name: group["lr"] for name, group in group_of(net, optimizer).items()}
    assert all(rate == (10.0 if name.startswith("two") else 1.0) for name, rate in rates.items())


def test_the_rate_is_the_schedules_at_every_step():
    net = Net()
    config = OptimConfig(lr=1.0, schedule=ScheduleConfig("cosine"))
    optimizer = make_optimizer(net, config)
    rates = [set_lr(optimizer, config, 8, Progress(step, 2, 2)) for step in range(4)]
    assert rates == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-6)


def test_a_forgotten_parameter_is_named():
    net = Net()
    net.extra = nn.Parameter(torch.zeros(1))
    with pytest.raises(RuntimeError, match="missing: \\['extra'\\]"):
        make_optimizer(net, OptimConfig())


def test_a_parameter_in_two_groups_is_refused():
    net = Net()
    net.second = {}
    groups = net.param_groups()
    net.param_groups = lambda: [*groups, {"params": [net.one.weight]}]
    with pytest.raises(RuntimeError, match="each trainable parameter once"):
        make_optimizer(net, OptimConfig())


def test_frozen_parameters_are_left_out():
    net = Net()
    net.one.requires_grad_(False)
    given = [p for g in make_optimizer(net, OptimConfig()).param_groups for p in g["params"]]
    assert names(net, given) == ["norm.bias", "norm.weight", "two.bias", "two.weight"]


@pytest.mark.parametrize(("name", "kind"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")])
def test_optimizers_by_name(name, kind):
    assert type(make_optimizer(Net(), OptimConfig(name))).__name__ == kind


def test_per_parameter_clipping_is_dinos():
    net = Net()
    optimizer = make_optimizer(net, OptimConfig())
    give_gradients(net, one_weight=6.0, two_weight=2.0)
    before = net.two.weight.grad.clone()
    total = clip_gradients(optimizer, OptimConfig(clip="per_parameter", clip_norm=3.0))
    # A tensor of gradient norm 6 ends at 3, by the factor 3 / (6 + 1e-6); one of norm 2 is untouched.
    assert float(net.one.weight.grad.norm()) == pytest.approx(6 * 3 / (6 + 1e-6), rel=1e-6)
    assert torch.equal(net.two.weight.grad, before)
    assert float(total) == pytest.approx(40**0.5, rel=1e-6)  # before clipping


def test_global_clipping_scales_all_alike():
    net = Net()
    optimizer = make_optimizer(net, OptimConfig())
    give_gradients(net, one_weight=6.0, two_weight=8.0)
    assert float(clip_gradients(optimizer, OptimConfig(clip="global", clip_norm=5.0))) == pytest.approx(10.0)
    assert float(net.one.weight.grad.norm()) == pytest.approx(3.0, rel=1e-5)
    assert float(net.two.weight.grad.norm()) == pytest.approx(4.0, rel=1e-5)


def test_global_clipping_leaves_small_gradients_alone():
    net = Net()
    optimizer = make_optimizer(net, OptimConfig())
    give_gradients(net, one_weight=1.0, two_weight=1.0)
    before = net.one.weight.grad.clone()
    clip_gradients(optimizer, OptimConfig(clip="global", clip_norm=5.0))
    assert torch.equal(net.one.weight.grad, before)


@pytest.mark.parametrize("mode", ["global", "per_parameter"])
def test_a_group_may_stay_out_of_the_clipping(mode):
    net = Net(clip=False)
    optimizer = make_optimizer(net, OptimConfig())
    give_gradients(net, one_weight=6.0, two_weight=80.0)
    total = clip_gradients(optimizer, OptimConfig(clip=mode, clip_norm=3.0))
    assert float(net.two.weight.grad.norm()) == pytest.approx(80.0)
    # The factor knows nothing of the group outside either.
    assert float(net.one.weight.grad.norm()) == pytest.approx(3.0, rel=1e-5)
    assert float(total) == pytest.approx((36 + 6400) ** 0.5)


def test_without_clipping_or_gradients_nothing_happens():
    net = Net()
    optimizer = make_optimizer(net, OptimConfig())
    assert float(clip_gradients(optimizer, OptimConfig(clip="global"))) == 0.0
    give_gradients(net, one_weight=6.0)
    assert float(clip_gradients(optimizer, OptimConfig(clip="none"))) == pytest.approx(6.0)
    assert float(net.one.weight.grad.norm()) == pytest.approx(6.0)


def test_a_group_keeps_its_scale_and_clipping_through_a_checkpoint():
    net = Net(lr_scale=10.0, clip=False)
    saved = make_optimizer(net, OptimConfig()).state_dict()
    twin = make_optimizer(net, OptimConfig())
    twin.load_state_dict(saved)
    found = group_of(net, twin)["two.weight"]
    assert found["lr_scale"] == 10.0 and found["clip"] is False
