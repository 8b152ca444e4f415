import pytest
import torch

from spkssl.training import checkpoint


def state(step: int, config_hash: str = "a") -> dict:
    return {"config_hash": config_hash, "step": step, "weights": torch.full((3,), float(step))}


def fill(folder, steps, keep=9):
    for step in steps:
        checkpoint.save(folder, step, state(step), keep)


def load(folder, config_hash="a"):
    said = []
    found = checkpoint.load(folder, config_hash, said.append)
    return (found["step"] if found else None), said


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_last_few_stay_and_latest_names_the_newest(tmp_path):
    fill(tmp_path, [2, 4, 10], keep=2)
    assert files(tmp_path) == ["latest", "step-10.pt", "step-4.pt"]
    assert (tmp_path / "latest").read_text() == "step-10.pt\n"
    assert load(tmp_path) == (10, [])


def test_keep_zero_drops_none(tmp_path):
    fill(tmp_path, range(1, 5), keep=0)
    assert len(files(tmp_path)) == 5


def test_nothing_there_is_a_fresh_start(tmp_path):
    assert load(tmp_path / "ckpt") == (None, [])


def test_tensors_come_back_equal_and_on_the_cpu(tmp_path):
    fill(tmp_path, [3])
    found = checkpoint.load(tmp_path, "a", print)
    assert torch.equal(found["weights"], torch.full((3,), 3.0)) and found["weights"].device.type == "cpu"


def test_killed_while_writing_leaves_the_old_one(tmp_path, monkeypatch):
    fill(tmp_path, [1])

    def dies(obj, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, [2])
    assert load(tmp_path) == (1, [])
    assert files(tmp_path) == ["latest", "step-1.pt"]


def test_killed_between_the_file_and_its_name_goes_on_from_the_named_one(tmp_path, monkeypatch):
    fill(tmp_path, [1])

    def dies(path, text):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_text", dies)
        with pytest.raises(KeyboardInterrupt):
            fill(tmp_path, [9])
    assert load(tmp_path) == (1, [])
    fill(tmp_path, [2], keep=1)  # the leftover of step 9 must not push out what was just written
    assert files(tmp_path) == ["latest", "step-2.pt"]
    assert load(tmp_path) == (2, [])


def test_a_leftover_of_a_killed_write_is_swept(tmp_path):
    (tmp_path / ".step-1.pt.77-88.tmp").write_bytes(b"half")
    fill(tmp_path, [2])
    assert files(tmp_path) == ["latest", "step-2.pt"]


def test_a_damaged_file_is_named_and_the_one_before_is_taken(tmp_path):
    fill(tmp_path, [1, 2])
    whole = (tmp_path / "step-2.pt").read_bytes()
    (tmp_path / "step-2.pt").write_bytes(whole[: len(whole) // 2])
    step, said = load(tmp_path)
    assert step == 1
    assert len(said) == 1 and "step-2.pt" in said[0] and "cannot be read" in said[0]


def test_a_missing_file_that_latest_names_does_not_lose_the_others(tmp_path):
    fill(tmp_path, [1, 2])
    (tmp_path / "step-2.pt").unlink()
    assert load(tmp_path) == (1, [])


def test_another_configuration_starts_afresh_and_says_so(tmp_path):
    fill(tmp_path, [1, 2])
    step, said = load(tmp_path, "b")
    assert step is None
    assert said == [f"{tmp_path / 'step-2.pt'} was made with other settings or data: starting afresh"]
    checkpoint.clear(tmp_path)
    assert files(tmp_path) == []


def test_order_is_by_number_not_by_name(tmp_path):
    fill(tmp_path, [9, 10, 11], keep=2)
    assert files(tmp_path) == ["latest", "step-10.pt", "step-11.pt"]
