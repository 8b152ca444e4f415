import json

import pytest
import torch

from spkssl.training import log


def test_a_line_holds_the_averages_since_the_line_before():
    meter = log.Meter()
    meter.add({"loss": torch.tensor(1.0), "late": torch.tensor(5.0)})
    meter.add({"loss": torch.tensor(4.0)})
    assert meter.take() == {"late": 5.0, "loss": 2.5}
    assert meter.take() == {}


def test_a_meter_restored_from_its_state_goes_on_bit_for_bit():
    whole, first, second = log.Meter(), log.Meter(), log.Meter()
    values = torch.rand(7)
    for i, value in enumerate(values):
        whole.add({"x": value})
        (first if i < 4 else second).add({"x": value})
        if i == 3:
            second.restore(first.state(), "cpu")
    assert whole.take() == second.take()


def test_a_meter_lets_go_of_the_graph():
    meter = log.Meter()
    meter.add({"x": torch.ones((), requires_grad=True) * 2})
    assert not meter.sums["x"].requires_grad


def test_numbers_keep_six_digits_and_lines_are_json(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log.append(path, {"step": 123456789, "loss": 1.23456789, "small": 1.23456789e-9})
    assert path.read_text() == '{"step": 123456789, "loss": 1.23457, "small": 1.23457e-09}\n'


def test_a_torn_last_line_is_no_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert log.read(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"st')
    assert log.read(path) == []
    assert log.read(tmp_path / "none") == []


@pytest.mark.parametrize(("step", "left"), [(0, []), (4, [2, 4]), (5, [2, 4]), (9, [2, 4, 6])])
def test_rewinding_forgets_what_will_be_written_again(tmp_path, step, left):
    path = tmp_path / "metrics.jsonl"
    for at in (2, 4, 6):
        log.append(path, {"step": at, "loss": 1 / 3})
    with open(path, "a") as file:
        file.write('{"step": 8, "lo')
    before = path.read_text()
    log.rewind(path, step)
    assert [row["step"] for row in log.read(path)] == left
    assert before.startswith(path.read_text()), "what stays must stay as it was"
    assert all(json.loads(line) for line in path.read_text().splitlines())
