import pytest
import torch
from torch import nn

from spkssl.nn import ema
from spkssl.nn.schedules import linear


def net(value: float) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(value)
    return model


def values(model: nn.Module) -> dict[str, set]:
    return {name: set(tensor.flatten().tolist()) for name, tensor in model.state_dict().items()}


def test_one_step_with_momentum_0996_moves_by_0004():
    teacher = net(0.0)
    ema.update(teacher, net(1.0), 0.996, buffers="keep")
    torch.testing.assert_close(teacher[0].weight, torch.full((3, 2), 0.004), atol=1e-8, rtol=0)


def test_momentum_0_copies_and_momentum_1_freezes_exactly():
    torch.manual_seed(0)
    teacher, student = nn.Linear(9, 9), nn.Linear(9, 9)
    before = teacher.weight.clone()
    ema.update(teacher, student, 1.0, buffers="keep")
    assert torch.equal(teacher.weight, before)
    ema.update(teacher, student, 0.0, buffers="keep")
    assert torch.equal(teacher.weight, student.weight)


def test_keep_leaves_all_buffers_alone():
    teacher = net(0.0)
    ema.update(teacher, net(1.0), 0.5, buffers="keep")
    assert values(teacher)["1.running_mean"] == {0.0} and values(teacher)["1.num_batches_tracked"] == {0}
    assert values(teacher)["1.weight"] == {0.5}


def test_copy_takes_all_buffers_of_the_student():
    teacher = net(0.0)
    ema.update(teacher, net(3.0), 0.5, buffers="copy")
    assert values(teacher)["1.running_var"] == {3.0} and values(teacher)["1.num_batches_tracked"] == {3}


def test_ema_averages_statistics_and_leaves_the_batch_counter():
    teacher = net(0.0)
    ema.update(teacher, net(4.0), 0.75, buffers="ema")
    assert values(teacher)["1.running_mean"] == values(teacher)["0.weight"] == {1.0}
    assert values(teacher)["1.num_batches_tracked"] == {0}


def test_ssrl_decay_brings_a_zero_teacher_where_its_numbers_say():
    teacher, student = net(0.0), net(1.0)
    for step in range(1000):
        if step == 10:
            assert teacher[0].weight[0, 0].item() == pytest.approx(0.00991498, rel=1e-5)
        ema.update(teacher, student, linear(0.999, 0.9999, step / 1000), buffers="ema")
    assert teacher[0].weight[0, 0].item() == pytest.approx(0.423417, rel=1e-5)
    assert teacher[1].running_var[0].item() == pytest.approx(0.423417, rel=1e-5)


def test_moco_key_network_after_ten_steps():
    key, query = net(0.0), net(1.0)
    for _ in range(10):
        ema.update(key, query, 0.999, buffers="keep")
    assert key[0].bias[0].item() == pytest.approx(0.00995512, rel=1e-5)


def test_a_frozen_copy_is_equal_and_shares_nothing():
    student = net(2.0)
    teacher = ema.frozen_copy(student)
    assert values(teacher) == values(student)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in student.parameters())
    with torch.no_grad():
        student[0].weight.zero_()
    assert values(teacher)["0.weight"] == {2.0}


def test_the_update_leaves_the_student_and_the_graph_alone():
    teacher, student = ema.frozen_copy(net(1.0)), net(5.0)
    ema.update(teacher, student, 0.5, buffers="copy")
    assert all(seen == {5} for seen in values(student).values())
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())


def test_a_tensor_held_in_common_stays():
    teacher, student = net(0.0), net(1.0)
    teacher[0].weight = student[0].weight
    ema.update(teacher, student, 0.5, buffers="keep")
    assert values(student)["0.weight"] == {1.0} and values(teacher)["0.bias"] == {0.5}


def test_other_structures_and_choices_are_refused():
    with pytest.raises(AssertionError, match="structure"):
        ema.update(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), 0.5, buffers="keep")
    with pytest.raises(AssertionError, match="shape of weight"):
        ema.update(nn.Linear(3, 2), nn.Linear(2, 2), 0.5, buffers="keep")
    with pytest.raises(ValueError, match="momentum"):
        ema.update(net(0.0), net(1.0), 1.1, buffers="keep")
    with pytest.raises(ValueError, match="keep, copy or ema"):
        ema.update(net(0.0), net(1.0), 0.5, buffers="both")
    with pytest.raises(TypeError):
        ema.update(net(0.0), net(1.0), 0.5)
