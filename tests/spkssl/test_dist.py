import pytest
import torch

from spkssl import dist


def test_alone_every_collective_is_the_identity():
    x = torch.randn(4, 2, requires_grad=True)
    assert dist.rank() == 0 and dist.world_size() == 1
    for collective in (dist.gather, dist.gather_rows, dist.total, dist.mean, dist.broadcast):
        assert collective(x) is x
    dist.barrier()
    dist.stop()


def test_alone_there_is_no_group_to_join(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert dist.start("cpu") is False
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert dist.start("cpu") is False


def test_ranks_know_their_place(across_ranks):
    assert [found["collectives"]["where"] for found in across_ranks["two"]] == [[0, 2, 0], [1, 2, 1]]


def test_gathered_rows_stand_in_rank_order(across_ranks):
    whole = across_ranks["one"][0]["collectives"]
    for found in across_ranks["two"]:
        found = found["collectives"]
        assert torch.equal(found["gather"], whole["gather"])
        assert torch.equal(found["gather_bf16"], whole["gather_bf16"])
        assert found["gather_rows"].tolist() == [0, 1, 2, 10, 11, 12, 13]
        assert found["gather_flags"].tolist() == [False] * 3 + [True] * 4
        assert found["gather_none"].shape == (2, 3)


def test_sums_means_and_broadcasts_are_the_same_everywhere(across_ranks):
    for found in across_ranks["two"]:
        found = found["collectives"]
        assert found["total"].tolist() == [3.0]
        assert float(found["mean"]) == 1.5
        assert found["broadcast"].tolist() == [5.0]


def test_a_loss_of_the_gathered_batch_has_the_gradient_of_one_process(across_ranks):
    whole = across_ranks["one"][0]["coupled"]
    for found in across_ranks["two"]:
        for one, other in zip(whole, found["coupled"], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_averages_resumed_from_rank_0_are_those_of_an_uninterrupted_run(across_ranks):
    for found in across_ranks["two"]:
        assert found["meters"] == pytest.approx(across_ranks["one"][0]["meters"])
