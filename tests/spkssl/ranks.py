"""One of two ranks: what collectives, synchronised norms and the checkpoints of several ranks give, to a file."""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from spkssl import dist
from spkssl.nn.sync_norm import SyncNorm, convert_sync
from spkssl.nn.targets import SharpTargets, TargetConfig
from spkssl.training.log import Meter

SHAPES = {"vectors": (8, 3), "sequences": (8, 3, 5), "images": (8, 3, 4, 2)}


def rows(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def mine(x: torch.Tensor) -> torch.Tensor:
    """This rank's contiguous part of the global batch; all of it in one process."""
    return x.chunk(dist.world_size())[dist.rank()]


def collectives() -> dict:
    rank = dist.rank()
    mixed = torch.arange(3 + rank) + 10 * rank
    return {
        "where": [rank, dist.world_size(), dist.local_rank()],
        "gather": dist.gather(mine(rows(0, 8, 3))),
        "gather_rows": dist.gather_rows(mixed),
        "gather_flags": dist.gather_rows(mixed > 2),
        "gather_none": dist.gather_rows(torch.zeros(0 if rank else 2, 3)),
        "gather_bf16": dist.gather(mine(rows(0, 8, 3)).bfloat16()),
        "total": dist.total(torch.tensor([1.0 + rank])),
        "mean": dist.mean(torch.tensor(1.0 + rank)),
        "broadcast": dist.broadcast(torch.tensor([5.0 + rank])),
    }


def coupled_gradient() -> list[torch.Tensor]:
    """Gradients, as DDP leaves them, of a loss that couples the whole batch and a mean over ranks."""
    net = nn.Linear(3, 2).double()
    with torch.no_grad():
        net.weight.copy_(rows(1, 2, 3)), net.bias.copy_(rows(2, 2))
    x = mine(rows(0, 8, 3))
    model = DistributedDataParallel(net) if dist.world_size() > 1 else net
    y = model(x)  # (B, 2)
    everything = dist.gather(y)
    coupled = (everything @ everything.T).softmax(dim=1).diagonal().log().mean()
    nonlinear = dist.mean(y.square().mean()).sqrt()
    (y.sin().mean() + coupled + nonlinear).backward()
    return [net.weight.grad, net.bias.grad]


def norms(name: str, training: bool) -> dict:
    """A net with a norm inside: its output, the gradients DDP leaves, and its running statistics."""
    x = rows(3, *SHAPES[name])
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[x.ndim]
    norm = kind(3).double()
    with torch.no_grad():
        norm.weight.copy_(rows(4, 3)), norm.bias.copy_(rows(5, 3))
    before = {key: value.data_ptr() for key, value in norm.state_dict().items()}
    net = nn.Sequential(nn.Linear(x.shape[-1], x.shape[-1]).double(), norm)
    with torch.no_grad():
        net[0].weight.copy_(rows(6, *net[0].weight.shape)), net[0].bias.copy_(rows(7, x.shape[-1]))
    if dist.world_size() > 1:
        convert_sync(net)
        assert isinstance(norm, SyncNorm) and not isinstance(net[0], SyncNorm)
    assert before == {key: value.data_ptr() for key, value in norm.state_dict().items()}
    net.train(training)
    leaf = mine(x).clone().requires_grad_()
    model = DistributedDataParallel(net) if dist.world_size() > 1 else net
    y = model(leaf)
    (y * mine(rows(8, *x.shape))).sum(tuple(range(1, x.ndim))).square().mean().backward()
    return {
        "out": dist.gather(y.detach()),
        "grads": [p.grad for p in net.parameters()],
        # A rank's loss is a mean over its own part: the whole batch's is the mean of them.
        "input_grad": dist.gather(leaf.grad) / dist.world_size(),
        "state": dict(norm.state_dict()),
    }


def half_norm() -> torch.Tensor:
    norm = nn.BatchNorm1d(3)
    if dist.world_size() > 1:
        convert_sync(norm)
    x = mine(rows(3, 8, 3, 5)).bfloat16()
    out = norm(x)
    assert out.dtype == torch.bfloat16
    return dist.gather(out.float().detach())


def targets(balance: str) -> dict:
    made = SharpTargets(TargetConfig(balance), 6).double()
    logits = rows(9, 2, 8, 6)
    part = logits.chunk(dist.world_size(), dim=1)[dist.rank()]
    for _ in range(2):
        q = made(part, 0.1)
    scalars = made.scalars(q)
    return {
        "q": dist.gather(q.transpose(0, 1).contiguous()),
        "centre": made.centre,
        "entropy": scalars["entropy"],
        "target_entropy": dist.mean(scalars["target_entropy"]),
    }


def meters() -> dict[str, float]:
    """The averages of a run that stopped and went on from rank 0's checkpoint."""
    values = rows(10, 6, 2)  # of six steps: a column for each rank
    columns = values.chunk(dist.world_size(), dim=1)[dist.rank()].mean(1)
    first, second = Meter(), Meter()
    for value in columns[:4]:
        first.add({"x": value})
    state = first.state()
    kept = {key: dist.broadcast(value.clone()) for key, value in state["sums"].items()}
    second.restore({"sums": kept, "counts": state["counts"]}, "cpu")
    for value in columns[4:]:
        second.add({"x": value})
    return second.take()


def everything() -> dict:
    return {
        "collectives": collectives(),
        "coupled": coupled_gradient(),
        "norms": {(name, training): norms(name, training) for name in SHAPES for training in (True, False)},
        "half_norm": half_norm(),
        "targets": {balance: targets(balance) for balance in ("centre", "sinkhorn")},
        "meters": meters(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    assert dist.start("cpu")
    torch.save(everything(), Path(sys.argv[1]) / f"rank{dist.rank()}.pt")
    dist.barrier()
    dist.stop()
