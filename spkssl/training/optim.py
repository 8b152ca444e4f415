"""Optimisers over a method's parameter groups, and gradient clipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spkssl.contract import Method, Progress
from spkssl.nn.schedules import ScheduleConfig, learning_rate


@dataclass(frozen=True)
class OptimConfig:
    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = 0.2
    lr_batch: int = 0  # lr is meant for this global batch and scales with the real one; 0: lr as it is
    momentum: float = 0.9  # sgd
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)  # adam, adamw
    weight_decay: float = 5e-5
    decay_1d: bool = False  # weight decay also on biases and normalisation parameters
    schedule: ScheduleConfig = ScheduleConfig()
    clip: Literal["none", "global", "per_parameter"] = "none"  # per_parameter: DINO's, each tensor by itself
    clip_norm: float = 3.0

    def base_lr(self, batch_size: int) -> float:
        return self.lr * batch_size / self.lr_batch if self.lr_batch else self.lr


def make_optimizer(method: Method, config: OptimConfig) -> torch.optim.Optimizer:
    """One torch group per method group and per decay choice, each remembering its lr_scale and whether to clip it."""
    groups: list[dict[str, Any]] = []
    for group in method.param_groups():
        params = [p for p in group["params"] if p.requires_grad]
        shared = {"lr_scale": group.get("lr_scale", 1.0), "clip": group.get("clip", True)}
        decayed = [p for p in params if group.get("decay", True) and (p.ndim > 1 or config.decay_1d)]
        kept = {id(p) for p in decayed}
        others = [p for p in params if id(p) not in kept]
        groups += [{"params": decayed, "weight_decay": config.weight_decay, **shared}] if decayed else []
        groups += [{"params": others, "weight_decay": 0.0, **shared}] if others else []
    _check_complete(method, groups)
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, nesterov=config.nesterov, foreach=True)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=0.0, betas=config.betas, foreach=True)


def set_lr(optimizer: torch.optim.Optimizer, config: OptimConfig, batch_size: int, t: Progress) -> float:
    """Put the schedule's value into every group, times the group's own scale."""
    lr = learning_rate(config.schedule, config.base_lr(batch_size), t)
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
    return lr


@torch.no_grad()
def clip_gradients(optimizer: torch.optim.Optimizer, config: OptimConfig) -> Tensor:
    """Clip in place what asks for it; the global norm before clipping."""
    clipped = [p.grad for g in optimizer.param_groups if g["clip"] for p in g["params"] if p.grad is not None]
    others = [p.grad for g in optimizer.param_groups if not g["clip"] for p in g["params"] if p.grad is not None]
    if not clipped and not others:
        return torch.zeros(())
    norms = torch.stack(torch._foreach_norm(clipped + others))
    total = norms.norm()
    if config.clip == "global" and clipped:
        scale = config.clip_norm / (norms[: len(clipped)].norm() + 1e-6)
        torch._foreach_mul_(clipped, scale.clamp(max=1.0))
    elif config.clip == "per_parameter" and clipped:
        scales = (config.clip_norm / (norms[: len(clipped)] + 1e-6)).clamp(max=1.0)  # factor 3 / (|g| + 1e-6)
        torch._foreach_mul_(clipped, list(scales.unbind()))
    return total


def _check_complete(method: Method, groups: list[dict[str, Any]]) -> None:
    assert isinstance(method, nn.Module)
    given = [id(p) for g in groups for p in g["params"]]
    wanted = {id(p): name for name, p in method.named_parameters() if p.requires_grad}
    forgotten = [name for key, name in wanted.items() if key not in set(given)]
    if forgotten or len(given) != len(set(given)):
        raise RuntimeError(f"param_groups() must hold each trainable parameter once; missing: {forgotten[:3]}")
