"""Every collective of the project. With one process each of them is the identity.

Gradient convention: `gather` hands every rank the whole batch, and its backward sums over ranks what they owe
each row; after DDP's averaging a loss of the gathered batch has the gradient it would have in one process.
"""

from __future__ import annotations

import os

import torch
import torch.distributed as td
from torch import Tensor


def rank() -> int:
    return td.get_rank() if td.is_initialized() else 0


def world_size() -> int:
    return td.get_world_size() if td.is_initialized() else 1


def local_rank() -> int:
    """The place on this node, which is the GPU to use; torchrun sets it."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def start(device: str) -> bool:
    """Join the group torchrun announces in the environment; False when there is only this process."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or td.is_initialized():
        return td.is_initialized()
    td.init_process_group("nccl" if device == "cuda" else "gloo")
    return True


def stop() -> None:
    if td.is_initialized():
        td.destroy_process_group()


def barrier() -> None:
    if td.is_initialized():
        td.barrier()


def gather(x: Tensor) -> Tensor:
    """Rows of all ranks in rank order, with gradient: (B, ...) -> (world * B, ...)."""
    return x if world_size() == 1 else _Gather.apply(x)


@torch.no_grad()
def gather_rows(x: Tensor) -> Tensor:
    """Rows of all ranks in rank order, without gradient; ranks may hold different numbers of rows."""
    if world_size() == 1:
        return x
    counts = [torch.zeros(1, dtype=torch.long, device=x.device) for _ in range(world_size())]
    td.all_gather(counts, torch.tensor([len(x)], device=x.device))
    sizes = [int(n) for n in counts]
    padded = x.new_zeros((max(sizes), *x.shape[1:]))
    padded[: len(x)] = x
    parts = [torch.empty_like(padded) for _ in sizes]
    td.all_gather(parts, padded)
    return torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)])


@torch.no_grad()
def total(x: Tensor) -> Tensor:
    """Sum over ranks, without gradient."""
    if world_size() > 1:
        x = x.clone()
        td.all_reduce(x)
    return x


def mean(x: Tensor) -> Tensor:
    """Mean over ranks; the backward hands the gradient through unchanged (DDP averages it afterwards)."""
    return x if world_size() == 1 else _Mean.apply(x)


@torch.no_grad()
def broadcast(x: Tensor) -> Tensor:
    """Rank 0's value, written into x on every rank."""
    if world_size() > 1:
        td.broadcast(x, 0)
    return x


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        parts = [torch.empty_like(x) for _ in range(world_size())]
        td.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        td.all_reduce(grad)
        return grad[rank() * ctx.rows : (rank() + 1) * ctx.rows]


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        x = x.clone()
        td.all_reduce(x)
        return x / world_size()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        return grad
