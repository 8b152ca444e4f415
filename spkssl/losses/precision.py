"""Losses are computed in float32 or wider, whatever the autocast around them says."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def widen(x: Tensor) -> Tensor:
    """float16 and bfloat16 become float32; float64, integers and bools stay."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` with autocast off and its half-precision tensors widened.

    Widening alone would not do: inside an autocast region a product of two float32 matrices is taken in bfloat16.
    """

    @wraps(function)
    def _call(*args: P.args, **kwargs: P.kwargs) -> R:
        args = tuple(widen(a) if isinstance(a, Tensor) else a for a in args)
        kwargs = {name: widen(a) if isinstance(a, Tensor) else a for name, a in kwargs.items()}
        device = next((a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return _call
