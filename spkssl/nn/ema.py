"""The teacher: an exponential moving average of the student."""

from __future__ import annotations

from copy import deepcopy
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def frozen_copy(student: M) -> M:
    """A copy with its own storage whose parameters take no gradient."""
    return deepcopy(student).requires_grad_(False)


@torch.no_grad()
def update(teacher: nn.Module, student: nn.Module, momentum: float, *, buffers: Literal["keep", "copy", "ema"]) -> None:
    """teacher <- momentum * teacher + (1 - momentum) * student, in place.

    `buffers` says what happens to the teacher's BatchNorm statistics, and has no default because the published systems
    differ: its own ("keep"), the student's ("copy"), or averaged like a weight ("ema": floating point only, the batch
    counter stays). A tensor that both hold in common is left alone.
    """
    if not 0.0 <= momentum <= 1.0:
        raise ValueError(f"momentum must lie in 0..1 (got {momentum})")
    old, new = _pairs(dict(teacher.named_parameters()), dict(student.named_parameters()))
    _lerp(old, new, momentum)
    if buffers == "keep":
        return
    old, new = _pairs(dict(teacher.named_buffers()), dict(student.named_buffers()))
    if buffers == "copy":
        if old:
            torch._foreach_copy_(old, new)
    elif buffers == "ema":
        floating = [i for i, tensor in enumerate(old) if tensor.is_floating_point()]
        _lerp([old[i] for i in floating], [new[i] for i in floating], momentum)
    else:
        raise ValueError(f"buffers must be keep, copy or ema (got {buffers!r})")


def _lerp(old: list[Tensor], new: list[Tensor], momentum: float) -> None:
    if old:
        torch._foreach_lerp_(old, new, 1.0 - momentum)  # exact at both ends


def _pairs(old: dict[str, Tensor], new: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Tensors of the same name, in order; those with common storage are dropped."""
    odd = sorted(old.keys() ^ new.keys())
    assert not odd, f"teacher and student differ in structure: {odd[:3]}"
    for name in old:
        assert old[name].shape == new[name].shape, f"teacher and student differ in the shape of {name}"
    kept = [name for name in old if old[name] is not new[name] and _storage(old[name]) != _storage(new[name])]
    return [old[name] for name in kept], [new[name] for name in kept]


def _storage(tensor: Tensor) -> tuple[torch.device, int, int]:
    # An empty tensor has no storage to share, and all of them report address 0.
    return tensor.device, tensor.data_ptr() or id(tensor), tensor.numel()
