"""Dynamic loss-gate and label correction (Han, Chen, Qian, Interspeech 2022, arXiv 2208.01928), as re-implemented by
theolepage/wavlm_ssl_sv; the authors released no code.

Pseudo labels teach under AAM-softmax; l_i is the loss of the augmented crop, margin included. Three phases of a round:
    all labels:       L = mean l_i
    gate (DLG):       L = sum_i mask_i l_i / sum_i mask_i,   mask_i = [ln l_i <= tau]
    correction (LC):  L = 1/B sum_i ( mask_i l_i(y_i) + (1 - mask_i) conf_i l_i(y*_i) )
tau is where two Gaussians, fitted to ln l of the epoch before, have equal weighted densities. y* is the class the net
gives the same crop without augmentation, conf_i whether its probability exceeds a threshold.
Departures from that code: l_i(y*) has its margin on y*, not on the label it replaces; the probability is a softmax of
cosines, as raw inner products have no scale to which a threshold could refer; a fit with one mode keeps the threshold
of before, or no gate, instead of stopping; no step is made where nothing teaches; nothing holds the encoder to its
first weights, which served WavLM.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from spkssl.contract import Batch, Facts, MakeEncoder, Progress, Step, ViewSpec
from spkssl.losses.aam import aam_logits, cross_entropies
from spkssl.losses.correction import corrected_losses, corrected_mean, predict
from spkssl.losses.spread import spread
from spkssl.methods.hooks import Hooks
from spkssl.nn.gating import UNUSED, LossGate, MixtureConfig
from spkssl.nn.heads import CosineClassifier
from spkssl.nn.schedules import margin


@dataclass(frozen=True)
class Config:
    name: str = "dlg_lc"
    frames: int = 300
    margin: float = 0.2
    scale: float = 30.0
    margin_ramp: tuple[float, float] = (0.0, 0.0)  # shares of the run between which the margin grows from 0
    from_centroids: bool = False  # class weights start at the cluster centres, which fits a warm encoder only
    ungated_epochs: int = 4  # of 15
    uncorrected_epochs: int = 8  # of 15: the gate alone from the one to the other
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    # 1/30 makes the softmax that of s cos, for thousands of classes; 0.1 (published, on inner products) suits 100,
    # where a cosine of 0.6 among zeros has probability 0.80; among 7500 it has 0.05.
    temperature: float = 1 / 30
    confidence: float = 0.5
    margin_on_given: bool = False  # as the released code: the corrected class gets no margin, the old one keeps it

    def __post_init__(self) -> None:
        if not 1 <= self.ungated_epochs <= self.uncorrected_epochs:
            what = f"{self.ungated_epochs}, {self.uncorrected_epochs}"
            raise ValueError(f"expected 1 <= ungated_epochs <= uncorrected_epochs (got {what})")


class DlgLc(Hooks):
    def __init__(self, config: Config, make_encoder: MakeEncoder, facts: Facts) -> None:
        super().__init__()
        self.config = config
        # One group: the clean crop is the augmented one before augmentation.
        self.views = (
            ViewSpec("crop", config.frames, group="crop"),
            ViewSpec("clean", config.frames, augment=False, group="crop"),
        )
        self.encoder = make_encoder()
        self.classifier = CosineClassifier(self.encoder.embed_dim, facts.num_classes)
        if config.from_centroids and facts.centroids is not None:
            self.classifier.start_from(torch.from_numpy(facts.centroids))
        self.gate = LossGate(facts.num_utts)

    def forward(self, batch: Batch, t: Progress) -> Step:
        embeddings = self.encoder(batch.views["crop"][:, 0])  # (B, D)
        cosine = self.classifier(embeddings)  # (B, K)
        m = margin(self.config.margin, t.fraction, *self.config.margin_ramp, shape="linear")
        losses = cross_entropies(aam_logits(cosine, batch.label, m, self.config.scale), batch.label)  # (B,)
        keep = self.gate.keep(losses)
        label = torch.where(keep, batch.label, UNUSED)
        if t.epoch < self.config.uncorrected_epochs:
            loss = self.gate.mean(losses, keep)
        else:
            loss, label = self._correct(batch, cosine, losses, keep, m)
        scalars = {
            "accepted": keep.float().mean(),
            "corrected": ((label != UNUSED) & ~keep).float().mean(),
            "idle": self.gate.idle(),  # share of steps in which nothing taught on any rank
            "accuracy": (cosine.argmax(dim=1) == batch.label).float().mean(),  # against the given labels
            **spread(embeddings),
        }
        return Step(loss, scalars, {"loss": losses.detach(), "accepted": keep, "label": label})

    def _correct(self, batch: Batch, cosine: Tensor, losses: Tensor, keep: Tensor, m: float) -> tuple[Tensor, Tensor]:
        """The loss, and the label each sample teaches (B,)."""
        with torch.no_grad():
            clean = self.classifier(self.encoder(batch.views["clean"][:, 0]))  # (B, K)
        guess = predict(clean, self.config.temperature, self.config.confidence)
        on_given = self.config.margin_on_given
        corrected = corrected_losses(cosine, batch.label, guess.label, m, self.config.scale, on_given)  # (B,)
        instead = torch.where(guess.confident, guess.label, UNUSED)
        self.gate.count(keep | guess.confident)
        loss = corrected_mean(losses, keep, corrected, guess.confident)
        return loss, torch.where(keep, batch.label, instead)

    def after_backward(self, t: Progress) -> None:
        self.gate.drop_idle_step(self.parameters())

    def end_epoch(self, records: dict[str, Tensor], t: Progress) -> None:
        self.gate.remember(records)
        if t.epoch + 1 >= self.config.ungated_epochs:
            self.gate.fit(records["loss"], self.config.mixture)

    def per_utterance(self) -> dict[str, Tensor]:
        return self.gate.per_utterance()

    def embedder(self) -> nn.Module:
        return self.encoder
