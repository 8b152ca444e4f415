"""Additive angular margin softmax (ArcFace, arXiv 1801.07698) on labels: pseudo labels, or true ones on request.

    L = mean over the batch of -log softmax(z)_y,  z_k = s cos_k,  z_y = s cos(theta_y + m)
The margin grows from 0 over a share of the run, so that a fresh classifier finds its classes first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from spkssl.contract import Batch, Facts, MakeEncoder, Progress, Step, ViewSpec
from spkssl.losses.aam import aam_logits, cross_entropies
from spkssl.losses.spread import spread
from spkssl.methods.hooks import Hooks
from spkssl.nn.heads import CosineClassifier
from spkssl.nn.schedules import margin


@dataclass(frozen=True)
class Config:
    name: str = "aam"
    frames: int = 300
    margin: float = 0.2
    scale: float = 30.0  # LGL; wespeaker 32
    margin_ramp: tuple[float, float] = (0.0, 0.0)  # shares of the run between which the margin grows from 0
    sub_centres: int = 1
    from_centroids: bool = False  # class weights start at the cluster centres, which fits a warm encoder only


class Aam(Hooks):
    def __init__(self, config: Config, make_encoder: MakeEncoder, facts: Facts) -> None:
        super().__init__()
        self.config = config
        self.views = (ViewSpec("crop", config.frames),)
        self.encoder = make_encoder()
        self.classifier = CosineClassifier(self.encoder.embed_dim, facts.num_classes, config.sub_centres)
        if config.from_centroids and facts.centroids is not None:
            self.classifier.start_from(torch.from_numpy(facts.centroids))

    def forward(self, batch: Batch, t: Progress) -> Step:
        embeddings = self.encoder(batch.views["crop"][:, 0])  # (B, D)
        cosine = self.classifier(embeddings)  # (B, K)
        m = margin(self.config.margin, t.fraction, *self.config.margin_ramp, shape="linear")
        loss = cross_entropies(aam_logits(cosine, batch.label, m, self.config.scale), batch.label).mean()
        accuracy = (cosine.argmax(dim=1) == batch.label).float().mean()
        return Step(loss, {"accuracy": accuracy, **spread(embeddings)}, {})

    def embedder(self) -> nn.Module:
        return self.encoder
