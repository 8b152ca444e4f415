"""MoCo (He et al., CVPR 2020, arXiv 1911.05722) for speakers.

The query (crop 1 through the encoder) must find its key (crop 2 through a moving average of the encoder) among the
keys of earlier batches, kept in a queue of Q:
    L = -log( exp(q.k / tau) / (exp(q.k / tau) + sum_j exp(q.queue_j / tau)) )
A batch enters the queue after its loss, so its own keys are never its negatives. `symmetric` adds the direction crop 2
-> crop 1 with a queue of its own. The query encoder is what is deployed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spkssl import dist, rng
from spkssl.contract import Batch, Facts, MakeEncoder, Progress, Step, ViewSpec
from spkssl.errors import complain
from spkssl.losses.nt_xent import enqueue, moco_loss
from spkssl.losses.spread import spread
from spkssl.methods.hooks import Hooks
from spkssl.nn import ema


@dataclass(frozen=True)
class Config:
    name: str = "moco"
    frames: int = 200  # wespeaker v3: 2 s
    disjoint: bool = False
    queue: int = 65536  # wespeaker; a multiple of the global batch
    temperature: float = 0.07  # wespeaker
    momentum: float = 0.999
    symmetric: bool = False


class Moco(Hooks):
    def __init__(self, config: Config, make_encoder: MakeEncoder, facts: Facts) -> None:
        super().__init__()
        self.config = config
        self.views = (ViewSpec("pair", config.frames, count=2, disjoint=config.disjoint),)
        self.encoder = make_encoder()
        self.key_encoder = ema.frozen_copy(self.encoder)
        shape = (1 + config.symmetric, config.queue, self.encoder.embed_dim)
        start = torch.randn(shape, generator=rng.torch_generator(facts.seed, "moco queue"))
        self.queues: Tensor
        self.pointer: Tensor
        self.register_buffer("queues", F.normalize(start, dim=-1))  # (1 or 2, Q, D)
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))  # the oldest row

    def forward(self, batch: Batch, t: Progress) -> Step:
        crops = batch.views["pair"].unbind(1)
        losses, queries, keys = [], [], []
        for direction, queue in enumerate(self.queues):
            queries.append(self.encoder(crops[direction]))  # (B, D)
            with torch.no_grad():
                keys.append(self.key_encoder(crops[1 - direction]))  # (B, D)
            losses.append(moco_loss(queries[-1], keys[-1], queue, self.config.temperature))
        self._remember(keys)
        return Step(sum(losses) / len(losses), spread(queries[0]), {})

    @torch.no_grad()
    def _remember(self, keys: list[Tensor]) -> None:
        gathered = [dist.gather_rows(rows) for rows in keys]
        if self.config.queue % len(gathered[0]):
            what = f"queue {self.config.queue} is no multiple of the batch (got {len(gathered[0])})"
            raise complain("method moco", what, "choose method.queue so")
        # A new tensor, not an update in place: the loss's backward still needs the old queue.
        self.queues = self.queues.clone()
        pointer = int(self.pointer)
        for queue, rows in zip(self.queues, gathered, strict=True):
            self.pointer.fill_(enqueue(queue, rows, pointer))

    def after_step(self, t: Progress) -> None:
        ema.update(self.key_encoder, self.encoder, self.config.momentum, buffers="keep")

    def embedder(self) -> nn.Module:
        return self.encoder
