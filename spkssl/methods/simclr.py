"""SimCLR (Chen et al., ICML 2020, arXiv 2002.05709) for speakers.

Two crops of one utterance, augmented independently, attract; crops of other utterances repel:
    L = mean over the 2B rows a of  -log( exp(cos(a, a+) / tau) / sum_{c != a} exp(cos(a, c) / tau) )
The batch is gathered over ranks, with gradient, so that every rank contrasts with the whole of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from spkssl import dist
from spkssl.contract import Batch, Facts, MakeEncoder, Progress, Step, ViewSpec
from spkssl.losses.nt_xent import nt_xent
from spkssl.losses.spread import spread
from spkssl.methods.hooks import Hooks
from spkssl.nn.distillation import encode_views
from spkssl.nn.heads import projector


@dataclass(frozen=True)
class Config:
    name: str = "simclr"
    frames: int = 200  # wespeaker v3: 2 s
    disjoint: bool = True  # the two crops do not overlap where the utterance allows (LGL stage I)
    temperature: float = 0.1
    hidden: int = 0  # of the projector; 0: no projector, the embedding itself is contrasted
    out: int = 128  # of the projector


class Simclr(Hooks):
    def __init__(self, config: Config, make_encoder: MakeEncoder, facts: Facts) -> None:
        super().__init__()
        self.config = config
        self.views = (ViewSpec("pair", config.frames, count=2, disjoint=config.disjoint),)
        self.encoder = make_encoder()
        self.projector = projector(self.encoder.embed_dim, config.hidden, config.out)

    def forward(self, batch: Batch, t: Progress) -> Step:
        embeddings = encode_views(self.encoder, batch.views["pair"])  # (2, B, D)
        first, second = self.projector(embeddings[0]), self.projector(embeddings[1])  # (B, out)
        loss = nt_xent(dist.gather(first), dist.gather(second), self.config.temperature)
        return Step(loss, spread(embeddings[0]), {})

    def embedder(self) -> nn.Module:
        return self.encoder
