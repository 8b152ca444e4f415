"""SimCLR (Chen et al., ICML 2020, arXiv 2002.05709) for speakers, and stage I of loss-gated learning (2110.03869).

Two crops of one utterance, augmented independently, attract; crops of other utterances repel:
    L = mean over the 2B rows a of  -log( exp(S_aa+) / sum_{c != a} exp(S_ac) ),  S = cos / tau  or  S = w cos + b
`angular_prototypical` (arXiv 2003.11982) is one-sided: crop 1 must find crop 2 among the other utterances' crop 2.
The batch is gathered over ranks, with gradient, so that every rank contrasts with the whole of it.

Augmentation-adversarial training (Huh et al., arXiv 2007.12085), with `aat_weight` > 0: one more crop has the place of
the second and the augmentation of the first. A discriminator learns whether the two crops of a pair share their
augmentation, (seg0, A0) with (seg1, A0) or (seg1, A1), and the encoder learns to make it fail:
    L_total = L + CE( D(reverse(pairs)) ),  reverse: identity, gradient times -aat_weight
so D descends CE, the encoder ascends aat_weight * CE. The released code takes two optimisers, and D's step before the
encoder's; here both gradients are taken at the same weights and one optimiser makes both steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spkssl import dist
from spkssl.contract import Batch, Facts, MakeEncoder, Progress, Step, ViewSpec
from spkssl.losses.adversarial import channel_pairs, reverse_gradient
from spkssl.losses.nt_xent import angular_prototypical, nt_xent, nt_xent_scaled
from spkssl.losses.spread import spread
from spkssl.methods.hooks import Hooks
from spkssl.nn.distillation import encode_views
from spkssl.nn.heads import Discriminator, Similarity, projector


@dataclass(frozen=True)
class Config:
    name: str = "simclr"
    frames: int = 200  # wespeaker v3: 2 s
    disjoint: bool = True  # the two crops do not overlap where the utterance allows (LGL stage I)
    loss: Literal["nt_xent", "nt_xent_scaled", "angular_prototypical"] = "nt_xent"
    temperature: float = 0.1  # of nt_xent
    scale: float = 10.0  # where the learned w and b of the two other losses start (LGL, voxceleb_unsupervised)
    bias: float = -5.0
    hidden: int = 0  # of the projector; 0: no projector, the embedding itself is contrasted
    out: int = 128  # of the projector
    aat_weight: float = 0.0  # LGL 3; 0: no discriminator, two crops instead of three
    aat_hidden: int = 512
    pass_per_crop: bool = False  # each crop is its own pass with its own BatchNorm statistics, as LGL's code does


class Simclr(Hooks):
    def __init__(self, config: Config, make_encoder: MakeEncoder, facts: Facts) -> None:
        super().__init__()
        self.config = config
        self.views = (ViewSpec("pair", config.frames, count=2, disjoint=config.disjoint),)
        if config.aat_weight:
            shared = {"crops": (0, 1, 1), "profiles": (0, 0, 1)}
            self.views = (ViewSpec("triple", config.frames, count=3, disjoint=config.disjoint, **shared),)
        self.encoder = make_encoder()
        self.projector = projector(self.encoder.embed_dim, config.hidden, config.out)
        if config.loss != "nt_xent":
            self.similarity = Similarity(config.scale, config.bias)
        if config.aat_weight:
            self.discriminator = Discriminator(self.encoder.embed_dim, config.aat_hidden)

    def param_groups(self) -> list[dict[str, Any]]:
        if not self.config.aat_weight:
            return super().param_groups()
        opponent = list(self.discriminator.parameters())
        own = {id(p) for p in opponent}
        ours = [p for p in self.parameters() if p.requires_grad and id(p) not in own]
        # The encoder's clipping must not depend on how its opponent does.
        return [{"params": ours}, {"params": opponent, "clip": False}]

    def forward(self, batch: Batch, t: Progress) -> Step:
        embeddings = self._encode(batch.views[self.views[0].name])  # (2 or 3, B, D)
        first, second = self.projector(embeddings[0]), self.projector(embeddings[-1])  # (B, out)
        loss = self._contrast(dist.gather(first), dist.gather(second))
        scalars = spread(embeddings[0])
        if self.config.aat_weight:
            adversarial, told_apart = self._adversarial(embeddings)
            scalars |= {"contrast": loss.detach(), "aat": adversarial.detach(), "aat_accuracy": told_apart}
            loss = loss + adversarial
        return Step(loss, scalars, {})

    def _encode(self, views: Tensor) -> Tensor:
        """(B, n, ...) -> (n, B, D)."""
        if self.config.pass_per_crop:
            return torch.stack([self.encoder(crop) for crop in views.unbind(1)])
        return encode_views(self.encoder, views)

    def _contrast(self, first: Tensor, second: Tensor) -> Tensor:
        if self.config.loss == "nt_xent":
            return nt_xent(first, second, self.config.temperature)
        scaled = nt_xent_scaled if self.config.loss == "nt_xent_scaled" else angular_prototypical
        return scaled(first, second, self.similarity.scale, self.similarity.bias)

    def _adversarial(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """The discriminator's cross-entropy, whose gradient reaches the encoder reversed, and its accuracy."""
        anchor, same, different = reverse_gradient(embeddings, self.config.aat_weight)  # (B, D) each
        pairs, shared = channel_pairs(anchor, same, different)  # (2B, 2D), (2B,)
        logits = self.discriminator(*pairs.chunk(2, dim=1)).float()  # (2B, 2)
        return F.cross_entropy(logits, shared), (logits.argmax(dim=1) == shared).float().mean()

    def embedder(self) -> nn.Module:
        return self.encoder
