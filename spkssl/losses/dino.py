"""Cross-view self-distillation (DINO, arXiv 2104.14294; RDINO, arXiv 2211.04168).

Shapes: student logits (V, B, K), teacher logits (G, B, K); the first G views of the student are the teacher's views.
A pair of the same view is skipped, so G V - G pairs remain.
With K = 65536 memory decides, so the softmaxes are taken a few utterances at a time, once for the value and again for
the gradient; nothing is kept but logits and targets. `dino_loss_fused` takes what enters the last linear layer instead
and never holds the logits either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spkssl.losses.precision import full_precision, widen
from spkssl.losses.sinkhorn import identity

_CHUNK = 2**20  # numbers in a temporary: small against any network's activations, large enough for a device


def dino_loss(
    student: Tensor, teacher: Tensor, centre: Tensor, teacher_temperature: float, student_temperature: float = 0.1
) -> Tensor:
    """DINO loss; centre (K,) is the value before this step's update. No gradient reaches the teacher."""
    return distil_loss(student, centred_targets(teacher, centre, teacher_temperature), student_temperature)


@torch.no_grad()
@full_precision
def centred_targets(teacher: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """q = softmax((T - c) / tau_t) of teacher logits (..., K), detached."""
    return ((teacher - centre) / temperature).softmax(dim=-1)


def distil_loss(student: Tensor, targets: Tensor, student_temperature: float = 0.1) -> Tensor:
    """1/(GV - G) sum_i sum_{v != i} mean_batch -sum_k q_ik ln s_vk for given targets (G, B, K), centred or Sinkhorn.

    Half-precision logits are computed with in float32. The loss can be differentiated once, not twice.
    """
    _count_pairs(student, targets)
    return _DistilLogits.apply(student, targets.detach(), student_temperature)


def dino_loss_fused(
    student: Tensor,
    student_weight: Tensor,
    teacher: Tensor,
    teacher_weight: Tensor,
    centre: Tensor,
    teacher_temperature: float,
    student_temperature: float = 0.1,
) -> Tensor:
    """`dino_loss` of the logits `x @ weight.T`, which exist only for a few utterances at a time.

    student (V, B, D) and teacher (G, B, D) are the inputs of the last layer, the weights (K, D) are effective ones
    (rows already normalised where the layer does so). The centre's update needs no logits either: the mean of
    x @ weight.T is the mean of x times weight.T.
    """
    num_pairs = _count_pairs(student, teacher)
    teacher, teacher_weight = teacher.detach(), teacher_weight.detach()

    def targets(rows: slice) -> Tensor:
        return centred_targets(_product(teacher[:, rows], teacher_weight), centre, teacher_temperature)

    setting = _Setting(student_temperature, num_pairs, torch.is_grad_enabled())
    return _DistilFeatures.apply(student, student_weight, targets, setting)


@torch.no_grad()
@full_precision
def centre_update(
    centre: Tensor, teacher: Tensor, momentum: float = 0.9, reduce: Callable[[Tensor], Tensor] = identity
) -> Tensor:
    """c <- m c + (1 - m) mean of the teacher logits (..., K) over all rows and ranks; `reduce` sums over ranks."""
    rows = teacher.reshape(-1, teacher.shape[-1])  # (N, K)
    # Sum and count travel together, so that ranks may hold different numbers of rows.
    total = reduce(torch.cat([rows.sum(dim=0), rows.new_tensor([float(len(rows))])]))  # (K + 1,)
    return momentum * centre + (1 - momentum) * total[:-1] / total[-1]


@torch.no_grad()
@full_precision
def entropy(probabilities: Tensor) -> Tensor:
    """Mean entropy of rows (..., K), in nats: 0 when one unit has taken all, ln K when the output is uniform."""
    return -torch.special.xlogy(probabilities, probabilities).sum(dim=-1).mean()


def _count_pairs(student: Tensor, teacher: Tensor) -> int:
    views, teachers = len(student), len(teacher)
    if views < teachers or teachers * (views - 1) == 0:
        raise ValueError(f"no pair of different views (got {views} student and {teachers} teacher views)")
    return teachers * (views - 1)


def _product(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight.to(x.dtype).T


def _chunks(batch: int, outputs: int) -> Iterator[slice]:
    """Slices of the batch whose logits of one view number about _CHUNK."""
    step = max(1, _CHUNK // outputs)
    for start in range(0, batch, step):
        yield slice(start, min(start + step, batch))


def _distil_rows(logits: Tensor, targets: Tensor, temperature: float, grad: bool) -> Tensor:
    """Summed loss of a few utterances; where `grad`, the logits (V, b, K) are overwritten by its gradient."""
    everything = targets.sum(dim=0)  # (b, K)
    loss = logits.new_zeros(())
    for view in range(len(logits)):
        own = view < len(targets)
        wanted = everything - targets[view] if own else everything  # (b, K)
        count = len(targets) - own  # sum_k wanted
        scaled = logits[view].div_(temperature)
        norm = scaled.logsumexp(dim=-1, keepdim=True)  # (b, 1)
        # -sum_k q_k ln s_k = (sum_k q_k) logsumexp(S/tau) - sum_k q_k S_k/tau
        loss += count * norm.sum() - scaled.flatten().dot(wanted.flatten())
        if grad:
            # d/dS = (count softmax(S/tau) - q) / tau
            scaled.sub_(norm).exp_().mul_(count).sub_(wanted).div_(temperature)
    return loss


class _Setting(NamedTuple):
    temperature: float
    num_pairs: int
    keep_grad: bool


class _DistilLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, targets: Tensor, temperature: float) -> Tensor:
        ctx.save_for_backward(student, targets)
        ctx.temperature = temperature
        dtype = widen(student).dtype
        loss = torch.zeros((), dtype=dtype, device=student.device)
        with torch.autocast(student.device.type, enabled=False):
            for rows in _chunks(*student.shape[1:]):
                logits = student[:, rows].to(dtype, copy=True)  # (V, b, K)
                loss += _distil_rows(logits, targets[:, rows].to(dtype), temperature, grad=False)
        return loss / (_count_pairs(student, targets) * student.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        student, targets = ctx.saved_tensors
        grad = grad / (_count_pairs(student, targets) * student.shape[1])
        out = torch.empty_like(student)
        with torch.autocast(student.device.type, enabled=False):
            for rows in _chunks(*student.shape[1:]):
                logits = student[:, rows].to(grad.dtype, copy=True)  # (V, b, K)
                _distil_rows(logits, targets[:, rows].to(grad.dtype), ctx.temperature, grad=True)
                out[:, rows] = logits.mul_(grad)
        return out, None, None


class _DistilFeatures(torch.autograd.Function):
    """Value and gradients in one pass, so that the logits are made once; a scalar's gradient needs only scaling."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, weight: Tensor, targets: Callable[[slice], Tensor], setting: _Setting
    ) -> Tensor:
        want_x, want_w = (setting.keep_grad and need for need in ctx.needs_input_grad[:2])
        wide, scale = widen(student).dtype, 1.0 / (setting.num_pairs * student.shape[1])
        grad_x = torch.empty_like(student) if want_x else None
        grad_w = torch.zeros_like(weight, dtype=wide) if want_w else None
        loss = torch.zeros((), dtype=wide, device=student.device)
        with torch.autocast(student.device.type, enabled=False):
            for rows in _chunks(student.shape[1], len(weight)):
                x = student[:, rows]  # (V, b, D)
                logits = _product(x, weight).to(wide)  # (V, b, K)
                loss += _distil_rows(logits, targets(rows), setting.temperature, grad=want_x or want_w)
                if want_w:  # logits now hold the gradient
                    grad_w.addmm_(logits.flatten(0, 1).T, x.flatten(0, 1).to(wide), alpha=scale)  # (K, D)
                if want_x:
                    grad_x[:, rows] = (logits @ weight.to(wide) * scale).to(student.dtype)
        ctx.save_for_backward(grad_x, grad_w if grad_w is None else grad_w.to(weight.dtype))
        return loss * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (*(None if saved is None else saved * grad.to(saved.dtype) for saved in ctx.saved_tensors), None, None)
