import math

import pytest
import torch

from spkssl.nn.targets import SharpTargets, TargetConfig


def test_the_first_centre_is_zero_and_moves_a_tenth_after_use():
    targets = SharpTargets(TargetConfig(), 8)
    logits = torch.arange(48.0).view(1, 6, 8)
    q = targets(logits, 0.04)
    torch.testing.assert_close(q, (logits / 0.04).softmax(dim=-1))  # the centre before its update
    # 0.1 times the column means 20..27
    torch.testing.assert_close(targets.centre, torch.arange(20.0, 28.0) / 10)
    second = targets(logits, 0.04)
    torch.testing.assert_close(second, ((logits - torch.arange(20.0, 28.0) / 10) / 0.04).softmax(dim=-1))


def test_the_centre_travels_with_the_state_and_has_no_gradient():
    targets = SharpTargets(TargetConfig(), 4)
    logits = torch.randn(2, 3, 4, requires_grad=True)
    assert not targets(logits, 0.1).requires_grad
    assert set(targets.state_dict()) == {"centre"} and list(targets.parameters()) == []
    twin = SharpTargets(TargetConfig(), 4)
    twin.load_state_dict(targets.state_dict())
    assert torch.equal(twin(logits, 0.1), targets(logits, 0.1))


def test_sinkhorn_uses_all_outputs_alike_and_leaves_the_centre():
    targets = SharpTargets(TargetConfig("sinkhorn", rounds=50), 4)
    q = targets(torch.randn(2, 16, 4) + torch.tensor([5.0, 0, 0, 0]), 1.0)
    torch.testing.assert_close(q.sum(-1), torch.ones(2, 16))
    torch.testing.assert_close(q.flatten(0, 1).mean(0), torch.full((4,), 0.25), rtol=1e-3, atol=1e-3)
    assert not targets.centre.any()


def test_collapse_to_one_output_and_to_uniform_are_told_apart():
    targets = SharpTargets(TargetConfig(), 4)
    one_output = torch.zeros(2, 3, 4)
    one_output[..., 1] = 1
    assert {name: float(value) for name, value in targets.scalars(one_output).items()} == {
        "entropy": 0.0, "target_entropy": 0.0,
    }  # fmt: skip
    uniform = {name: float(value) for name, value in targets.scalars(torch.full((2, 3, 4), 0.25)).items()}
    assert uniform == pytest.approx({"entropy": 1.0, "target_entropy": math.log(4)})
    sharp_and_spread = {name: float(value) for name, value in targets.scalars(torch.eye(4)[None]).items()}
    assert sharp_and_spread == pytest.approx({"entropy": 1.0, "target_entropy": 0.0})


@pytest.mark.parametrize("balance", ["centre", "sinkhorn"])
@pytest.mark.parametrize("what", ["q", "centre", "entropy", "target_entropy"])
def test_two_ranks_aim_at_what_one_process_aims_at(across_ranks, balance, what):
    whole = across_ranks["one"][0]["targets"][balance][what]
    for found in across_ranks["two"]:
        torch.testing.assert_close(found["targets"][balance][what], whole, rtol=1e-6, atol=1e-9)
