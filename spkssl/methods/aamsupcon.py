"""AAMSupCon (Li and Mak, APSIPA 2022, arXiv 2210.16636) and its follow-up SupMarginCon (arXiv 2210.16622).

Labels teach twice, as classes and as positives of a contrastive loss over all views z_i of the batch:
    L = w_aam L_aam + w_sup L_sup
    L_aam = mean over view 0 of -log softmax(y)_label,  y_label = s cos(theta + m)
    L_sup = mean_i -(1/|P(i)|) sum_{p in P(i)} log( exp(c'_ip / tau) / sum_{a != i} exp(c_ia / tau) )
P(i): the other views of the utterance and every view of the speaker's other utterances; an anchor without any is left
out of the mean. AAMSupCon has no margin here, c' = c = cos; SupMarginCon has c' = cos(theta + m_sup) (margin_mode num),
weighs the pairs by class-aware attention a_ij = min(a_i, a_j), a_i the classifier's probability of i's own label, and
balances the two losses so that their joint gradient at the embeddings is shortest (MGDA, arXiv 1810.04650):
    L = alpha L_aam + (1 - alpha) L_sup,  alpha = clip(<g_sup - g_aam, g_sup> / ||g_aam - g_sup||^2, 0, 1)
The views of an utterance share their crop: one or more are augmented, each on its own, and the last one is clean. The
batch is gathered over ranks, with gradient, so both losses and alpha are those of one process.

Departures from the released code: lone speakers are left out, where they made NaN; attention multiplies the cosine and
not what remains after subtracting a row's maximum, which depended on that maximum; alpha divides by the square of the
norm, not by the norm; the margin of the classifier is the one configured, where the code has 0.3 whatever it is told.

Attention and balancing together defeat each other: attention of about 1/K leaves L_sup hardly a gradient, the shortest
joint gradient is then that of L_sup alone (alpha = 0), and the classifier, whose probabilities attention needs, never
learns. With either by itself it does; egs/mini/RESULTS.md has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from spkssl import dist
from spkssl.contract import Batch, Facts, MakeEncoder, Progress, Step, ViewSpec
from spkssl.losses.aam import aam_logits, cross_entropies
from spkssl.losses.balance import balanced_loss
from spkssl.losses.spread import spread
from spkssl.losses.supcon import MarginMode, class_attention, supcon_loss
from spkssl.methods.hooks import Hooks
from spkssl.nn.distillation import encode_views
from spkssl.nn.heads import CosineClassifier, projector
from spkssl.nn.schedules import margin


@dataclass(frozen=True)
class Config:
    name: str = "aamsupcon"
    frames: int = 300  # released code: 200 on CN-Celeb, 300 on VoxCeleb
    views: int = 2  # the last one is clean, the others are augmented; released code on CN-Celeb: 5
    margin: float = 0.2  # of the classifier; released code 0.3
    scale: float = 32.0
    margin_ramp: tuple[float, float] = (0.0, 0.0)  # shares of the run between which the margin grows from 0
    aam_on: Literal["first", "all"] = "first"  # views that are classified; first: the augmented one, as published
    temperature: float = 0.07
    margin_mode: MarginMode = "none"  # none: AAMSupCon; num: SupMarginCon; both, am: its public variants
    contrast_margin: float = 0.1  # radians; in mode am it is subtracted from the cosine
    attention: bool = False  # class-aware attention
    attention_scale: float = 1.0  # of the cosines; at 1, as published, attention hardly varies with many classes
    attention_gradient: bool = False
    balance: bool = False  # shortest joint gradient instead of the weights alone
    aam_weight: float = 1.0
    supcon_weight: float = 1.0
    hidden: int = 0  # of the projector before the contrastive loss; 0: none, as in all released code
    out: int = 128
    from_centroids: bool = False  # class weights start at the cluster centres, which fits a warm encoder only

    def __post_init__(self) -> None:
        if self.views < 1:
            raise ValueError(f"views must be at least 1 (got {self.views})")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0 (got {self.temperature})")
        weights = (self.aam_weight, self.supcon_weight)
        if min(weights) < 0 or sum(weights) == 0 or (self.balance and min(weights) == 0):
            what = "aam_weight and supcon_weight must not be negative nor both 0, and with balance neither"
            raise ValueError(f"{what} (got {weights})")


class AamSupCon(Hooks):
    def __init__(self, config: Config, make_encoder: MakeEncoder, facts: Facts) -> None:
        super().__init__()
        self.config = config
        augmented = [ViewSpec(f"view{v}", config.frames, group="crop") for v in range(max(1, config.views - 1))]
        clean = [ViewSpec("clean", config.frames, augment=False, group="crop")] if config.views > 1 else []
        self.views = (*augmented, *clean)
        self.encoder = make_encoder()
        self.projector = projector(self.encoder.embed_dim, config.hidden, config.out)
        self.classifier = CosineClassifier(self.encoder.embed_dim, facts.num_classes)
        if config.from_centroids and facts.centroids is not None:
            self.classifier.start_from(torch.from_numpy(facts.centroids))

    def forward(self, batch: Batch, t: Progress) -> Step:
        crops = torch.cat([batch.views[view.name] for view in self.views], dim=1)  # (B, V, ...)
        z = dist.gather(encode_views(self.encoder, crops).transpose(0, 1))  # (B, V, D) of all ranks
        label = dist.gather_rows(batch.label)
        aam, accuracy = self._classify(z, label, t)
        supcon, watched = self._contrast(z, label)
        scalars = {"aam": aam.detach(), "supcon": supcon.detach(), "accuracy": accuracy, **watched, **spread(z[:, 0])}
        aam, supcon = self.config.aam_weight * aam, self.config.supcon_weight * supcon
        if self.config.balance:
            loss, scalars["aam_share"] = balanced_loss(aam, supcon, z)
        else:
            loss = aam + supcon
        return Step(loss, scalars, {})

    def _classify(self, z: Tensor, label: Tensor, t: Progress) -> tuple[Tensor, Tensor]:
        """L_aam and the share of view 0 that is nearest to its own class."""
        views = 1 if self.config.aam_on == "first" else z.shape[1]
        cosine = self.classifier(z[:, :views].flatten(0, 1))  # (B * views, K)
        labels = label.repeat_interleave(views)
        m = margin(self.config.margin, t.fraction, *self.config.margin_ramp, shape="linear")
        losses = cross_entropies(aam_logits(cosine, labels, m, self.config.scale), labels)
        return losses.mean(), (cosine[::views].argmax(dim=1) == label).float().mean()

    def _contrast(self, z: Tensor, label: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """L_sup, and what attention gives on average."""
        config, attention, watched = self.config, None, {}
        if config.attention:
            attention = class_attention(z, self.classifier.weight, label, config.attention_scale)  # (B, V)
            watched = {"attention": attention.detach().mean()}
            attention = attention if config.attention_gradient else attention.detach()
        shown = self.projector(z)  # (B, V, out)
        found = supcon_loss(shown, label, config.temperature, config.contrast_margin, config.margin_mode, attention)
        return found.loss, watched

    def embedder(self) -> nn.Module:
        return self.encoder
