"""Loss-gated learning, stage II (Tao et al., ICASSP 2022, arXiv 2110.03869): pseudo labels judged by their own loss.

A network fits utterances with right labels before those with wrong ones. So after a phase on all labels only the
samples whose loss of this very step lies below a threshold teach:
    l_i = -log softmax(z)_y,  z_k = s cos_k,  z_y = s cos(theta_y + m)      (AAM-softmax)
    L = sum_i [l_i <= tau] l_i / sum_i [l_i <= tau]
One run is one round; the stage starts it with the encoder of `start` (published: stage I's, in every round) and this
class gives it a fresh classifier. Departures from the released code: the first phase ends after a fixed number of
epochs or when its training loss stops falling, where the code watches labelled trials; training goes on from its last
epoch, not its best; a step in which nothing passes is not made, where 0/0 would end training.
Thresholds are losses and do not carry over to another number of classes (a blind guess costs s sin m + ln K), hence two
other gates: `rate` keeps a share of the last epoch's losses, `gmm` is the dynamic gate of arXiv 2208.01928.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from spkssl.contract import Batch, Facts, MakeEncoder, Progress, Step, ViewSpec
from spkssl.losses.aam import aam_logits, cross_entropies
from spkssl.losses.gate import acceptance_threshold
from spkssl.losses.plateau import plateau_epoch
from spkssl.losses.spread import spread
from spkssl.methods.hooks import Hooks
from spkssl.nn.gating import UNUSED, LossGate, MixtureConfig
from spkssl.nn.heads import CosineClassifier
from spkssl.nn.schedules import margin


@dataclass(frozen=True)
class Config:
    name: str = "lgl"
    frames: int = 300
    margin: float = 0.2
    scale: float = 30.0
    margin_ramp: tuple[float, float] = (0.0, 0.0)  # shares of the run between which the margin grows from 0
    from_centroids: bool = False  # class weights start at the cluster centres, which fits a warm encoder only
    gate: Literal["none", "threshold", "rate", "gmm"] = "threshold"
    ungated_epochs: int = 10  # all labels teach for so long
    plateau: bool = False  # ... or until the training loss stops falling, if that comes first
    # By round, the last one for all later rounds and for labels that were given by hand.
    thresholds: tuple[float, ...] = (1.0, 3.0, 3.0, 5.0, 6.0)  # released code, K = 6000
    rates: tuple[float, ...] = (0.45, 0.65, 0.65, 0.8, 0.85)  # share of the last epoch's losses
    mixture: MixtureConfig = field(default_factory=MixtureConfig)

    def __post_init__(self) -> None:
        if self.ungated_epochs < 1 and self.gate in ("rate", "gmm"):
            raise ValueError(f"gate {self.gate} judges by an epoch before it: ungated_epochs must be at least 1")
        if not self.thresholds or not self.rates or not all(0 < rate <= 1 for rate in self.rates):
            raise ValueError(f"thresholds and rates need a value, rates one in (0, 1] (got {self.rates})")


class Lgl(Hooks):
    def __init__(self, config: Config, make_encoder: MakeEncoder, facts: Facts) -> None:
        super().__init__()
        self.config = config
        self.views = (ViewSpec("crop", config.frames),)
        self.encoder = make_encoder()
        self.classifier = CosineClassifier(self.encoder.embed_dim, facts.num_classes)
        if config.from_centroids and facts.centroids is not None:
            self.classifier.start_from(torch.from_numpy(facts.centroids))
        self.gate = LossGate(facts.num_utts)
        self.rate = of_round(config.rates, facts.round)
        self.tau = of_round(config.thresholds, facts.round)
        if config.gate == "threshold" and config.ungated_epochs < 1:
            self.gate.threshold.fill_(self.tau)
        self.history: Tensor
        self.register_buffer("history", torch.zeros(max(config.ungated_epochs, 1)))  # mean loss of each epoch

    def forward(self, batch: Batch, t: Progress) -> Step:
        embeddings = self.encoder(batch.views["crop"][:, 0])  # (B, D)
        cosine = self.classifier(embeddings)  # (B, K)
        m = margin(self.config.margin, t.fraction, *self.config.margin_ramp, shape="linear")
        losses = cross_entropies(aam_logits(cosine, batch.label, m, self.config.scale), batch.label)  # (B,)
        keep = self.gate.keep(losses)
        loss = self.gate.mean(losses, keep)
        hits = (cosine.argmax(dim=1) == batch.label) & keep
        scalars = {
            "accepted": keep.float().mean(),
            "idle": self.gate.idle(),  # share of steps in which nothing passed on any rank
            "accuracy": hits.sum() / keep.sum().clamp_min(1),  # of what passed
            **spread(embeddings),
        }
        label = torch.where(keep, batch.label, UNUSED)
        return Step(loss, scalars, {"loss": losses.detach(), "accepted": keep, "label": label})

    def after_backward(self, t: Progress) -> None:
        self.gate.drop_idle_step(self.parameters())

    def end_epoch(self, records: dict[str, Tensor], t: Progress) -> None:
        self.gate.remember(records)
        if self.config.gate == "none" or not self._closes(records["loss"], t):
            return
        if self.config.gate == "gmm":
            self.gate.fit(records["loss"], self.config.mixture)
        elif self.config.gate == "rate":
            self.gate.set(acceptance_threshold(records["loss"], self.rate))
        else:
            self.gate.set(self.tau)

    def _closes(self, losses: Tensor, t: Progress) -> bool:
        """Whether the epoch after this one is gated."""
        if t.epoch + 1 >= self.config.ungated_epochs:
            return True
        self.history[t.epoch] = losses.mean()
        return self.config.plateau and plateau_epoch(self.history[: t.epoch + 1].tolist()) is not None

    def per_utterance(self) -> dict[str, Tensor]:
        return self.gate.per_utterance()

    def embedder(self) -> nn.Module:
        return self.encoder


def of_round(values: Sequence[float], number: int) -> float:
    """The value of round `number`, counted from 1; the last one beyond the list and for round 0."""
    return values[min(number, len(values)) - 1]
