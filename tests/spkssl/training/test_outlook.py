import time

import pytest
import torch
from torch import nn

from spkssl.errors import InputError
from spkssl.training.outlook import Outlook


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when told to."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def run(out, total, steps, clock, seconds, keep=2):
    method = nn.Linear(999, 1000)  # 4 MB of float32
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9)  # and as much again
    sum(p.sum() for p in method.parameters()).backward()
    optimizer.step()
    said = []
    outlook = Outlook(out, total, keep, said.append)
    for step in range(steps):
        clock[0] += 100.0 if step < 5 else seconds  # the first steps are slow and not timed
        outlook.step_done(step + 1, method, optimizer)
    return said


def test_time_and_disk_are_told_once_from_the_first_steps(tmp_path, clock):
    assert run(tmp_path / "pretrain", 3625, 100, clock, 2.0) == ["pretrain: about 2.0 h and 24.0 MB of disk to go"]


def test_short_trainings_say_nothing(tmp_path, clock):
    assert run(tmp_path / "pretrain", 50, 50, clock, 1.0) == []


def test_checkpoints_that_are_there_take_no_more(tmp_path, clock):
    (tmp_path / "pretrain" / "ckpt").mkdir(parents=True)
    (tmp_path / "pretrain" / "ckpt" / "step-1.pt").write_bytes(b"")
    assert run(tmp_path / "pretrain", 3625, 30, clock, 2.0) == ["pretrain: about 2.0 h and 16.0 MB of disk to go"]


def test_disk_that_is_too_small_is_refused(tmp_path, clock, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 20_000_000}))
    with pytest.raises(InputError, match="the disk is too small .got 20.0 MB free, expected 24.0 MB.*keep fewer"):
        run(tmp_path / "pretrain", 3625, 30, clock, 2.0)
