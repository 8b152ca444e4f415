"""Batch normalisation with statistics over all ranks, on any backend (torch's own works on GPUs only)."""

from __future__ import annotations

import torch
import torch.distributed as td
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from spkssl import dist


class SyncNorm(_BatchNorm):
    """A BatchNorm whose mean and variance are those of the global batch; gradients cross ranks too."""

    def _check_input_dim(self, x: Tensor) -> None:
        if x.ndim < 2:
            raise ValueError(f"expected (B, C, ...), got {tuple(x.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or dist.world_size() == 1:
            return super().forward(x)
        axes = [0, *range(2, x.ndim)]
        shape = [1, -1] + [1] * (x.ndim - 2)
        rows = x.to(torch.promote_types(x.dtype, torch.float32))
        count = float(dist.total(rows.new_tensor(x.numel() / x.shape[1])))
        mean = _Sum.apply(rows.sum(axes)) / count  # (C,)
        centred = rows - mean.view(shape)
        var = _Sum.apply(centred.square().sum(axes)) / count
        if self.track_running_stats:
            self._update_running(mean, var * count / (count - 1))
        out = centred * (var.view(shape) + self.eps).rsqrt()
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(x.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, var: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var, self.momentum)


def convert_sync(module: nn.Module) -> None:
    """Make every BatchNorm below `module` synchronise over ranks; parameters and buffers stay the same objects."""
    for child in module.modules():
        if isinstance(child, _BatchNorm) and not isinstance(child, nn.SyncBatchNorm):
            child.__class__ = SyncNorm


class _Sum(torch.autograd.Function):
    """Sum over ranks; what the ranks owe the sum is summed over ranks again."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        x = x.clone()
        td.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        td.all_reduce(grad)
        return grad
