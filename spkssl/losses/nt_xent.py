"""Contrastive losses of embeddings: NT-Xent, angular prototypical, MoCo, MeMo's student-teacher form.

None of them is invariant to how a batch is split over processes: gather the rows first where the whole batch is meant.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spkssl.losses.precision import full_precision


@full_precision
def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """NT-Xent of two views, (B, D) each; the mean over the 2B rows (SimCLR, arXiv 2002.05709 eq. (1))."""
    return nt_xent_rows(_pair_cosines(first, second) / temperature).mean()


@full_precision
def nt_xent_scaled(first: Tensor, second: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """NT-Xent with logits `scale * cosine + bias`, both learnable; the bias cancels, so its gradient is zero."""
    return nt_xent_rows(scale * _pair_cosines(first, second) + bias).mean()


@full_precision
def nt_xent_rows(logits: Tensor) -> Tensor:
    """Loss of every row of (2B, 2B) logits whose rows b and b + B are partners; the diagonal is ignored."""
    rows = len(logits)
    if rows < 4 or rows % 2:
        raise ValueError(f"NT-Xent needs at least two utterances of two views each (got {rows} rows)")
    own = torch.eye(rows, dtype=torch.bool, device=logits.device)
    partner = torch.arange(rows, device=logits.device).roll(rows // 2)  # (2B,)
    # l_a = -log( exp S_aa+ / sum_{c != a} exp S_ac )
    return F.cross_entropy(logits.masked_fill(own, float("-inf")), partner, reduction="none")  # (2B,)


@full_precision
def angular_prototypical(queries: Tensor, support: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Angular prototypical loss (arXiv 2003.11982 eq. (7)).

    queries (B, D); support (B, D) or (B, M, D), whose mean over M is the prototype. The other rows are the negatives.
    """
    if support.dim() == 3:
        support = support.mean(dim=1)  # (B, D)
    cosine = F.normalize(queries, dim=-1) @ F.normalize(support, dim=-1).T  # (B, B)
    # A scale that crosses zero would turn attraction into repulsion.
    return F.cross_entropy(scale.clamp_min(1e-6) * cosine + bias, torch.arange(len(cosine), device=cosine.device))


@full_precision
def moco_logits(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """[q.k, q.queue] / T, the positive in column 0 (MoCo, arXiv 1911.05722 eq. (1)): (B, 1 + Q).

    queries, keys (B, D) are normalised here, keys get no gradient; the rows of queue (Q, D) must have unit norm.
    """
    queries, keys = F.normalize(queries, dim=-1), F.normalize(keys.detach(), dim=-1)
    positive = (queries * keys).sum(dim=-1, keepdim=True)  # (B, 1)
    negative = queries @ queue.detach().T  # (B, Q)
    return torch.cat([positive, negative], dim=1) / temperature


@full_precision
def moco_loss(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """InfoNCE of each query for its key against the queue, averaged over the batch."""
    logits = moco_logits(queries, keys, queue, temperature)
    # logsumexp adds pairwise; log_softmax adds 65536 small terms to a 1 one by one and loses 0.3 % in float32.
    return (logits.logsumexp(dim=1) - logits[:, 0]).mean()


@torch.no_grad()
def enqueue(queue: Tensor, keys: Tensor, pointer: int) -> int:
    """Overwrite the oldest rows of queue (Q, D), in place, by the normalised keys (B, D); the new pointer.

    `pointer` is the oldest row. Call it after the loss, else a step's own keys are among its negatives.
    """
    keys = F.normalize(keys.float(), dim=-1).to(queue.dtype)[-len(queue) :]
    places = (pointer + torch.arange(len(keys), device=queue.device)) % len(queue)
    queue[places] = keys
    return (pointer + len(keys)) % len(queue)


@full_precision
def memo_contrastive(
    student: Tensor, teacher: Tensor, scale: float = 10.0, bias: float = -5.0, base_temperature: float = 0.07
) -> Tensor:
    """MeMo's contrastive loss between the embeddings of student and teacher, (2, B, D) each, of the two global crops.

    Each direction pairs the teacher on one crop with the student on the other; the teacher gets no gradient.
    base_temperature only multiplies the loss (by 14.29), as the public code does.
    """
    teacher = teacher.detach()
    # z_mn = 10 cos(x_m, x_n) - 5; L = 1/2 sum_(i,j) (1/0.07) (1/2B) sum_m -[z_mm' - ln sum_{n != m} exp z_mn]
    rows = [nt_xent_rows(scale * _pair_cosines(teacher[i], student[1 - i]) + bias) for i in (0, 1)]
    return torch.stack(rows).mean() / base_temperature


def _pair_cosines(first: Tensor, second: Tensor) -> Tensor:
    both = F.normalize(torch.cat([first, second]), dim=-1)  # (2B, D)
    return both @ both.T  # (2B, 2B)
