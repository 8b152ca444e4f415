"""RDINO: regularised distillation (Chen et al., ICASSP 2023, arXiv 2211.04168).

DINO with a wide layer in the head, whose output z over the long crops is kept from collapsing:
    L = L_DINO + lambda(epoch) (10 V + R)
V: hinge on the deviation of each dimension; R: off-diagonal covariance energy. z is averaged over an utterance's long
crops and gathered over ranks, with gradient. lambda grows from 0.05 to 0.2 over the first epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from spkssl import dist
from spkssl.contract import Batch, Facts, MakeEncoder, Progress, Step, ViewSpec
from spkssl.losses.dino import distil_loss
from spkssl.losses.regularise import rdino_regulariser
from spkssl.losses.spread import spread
from spkssl.methods.hooks import Hooks
from spkssl.nn.distillation import Branch, StudentTeacher, encode_views
from spkssl.nn.heads import DinoHead, DinoHeadConfig, last_layers
from spkssl.nn.schedules import cosine, epoch_ramp
from spkssl.nn.targets import SharpTargets, TargetConfig


@dataclass(frozen=True)
class Config:
    name: str = "rdino"
    global_frames: int = 400  # 3D-Speaker: 2 x 4 s
    global_count: int = 2
    local_frames: int = 200  # 4 x 2 s
    local_count: int = 4
    head: DinoHeadConfig = DinoHeadConfig(wide=8192)
    student_temperature: float = 0.1
    targets: TargetConfig = TargetConfig()
    teacher_temperature: float = 0.04  # constant
    ema: tuple[float, float] = (0.996, 1.0)
    freeze_epochs: float = 1.0
    variance_weight: float = 10.0
    covariance_weight: float = 1.0
    covariance_by: Literal["outputs", "dimensions"] = "outputs"  # 3D-Speaker divides by K, VICReg by the wide size
    weight: tuple[float, float] = (0.05, 0.2)  # lambda from, to
    weight_epochs: int = 10
    deploy: Literal["teacher", "student"] = "teacher"

    def __post_init__(self) -> None:
        if not self.head.wide:
            raise ValueError("head.wide must be positive: its output is what is regularised")


class Rdino(Hooks):
    def __init__(self, config: Config, make_encoder: MakeEncoder, facts: Facts) -> None:
        super().__init__()
        self.config = config
        self.views = (
            ViewSpec("global", config.global_frames, count=config.global_count),
            ViewSpec("local", config.local_frames, count=config.local_count),
        )[: 2 if config.local_count else 1]
        encoder = make_encoder()
        self.pair = StudentTeacher(encoder, DinoHead(encoder.embed_dim, config.head))
        self.targets = SharpTargets(config.targets, config.head.out)
        self.features = config.head.out if config.covariance_by == "outputs" else config.head.wide

    def forward(self, batch: Batch, t: Progress) -> Step:
        embeddings, logits, wide = self._look(self.pair.student, batch, [view.name for view in self.views])
        _, teacher_logits, teacher_wide = self._look(self.pair.teacher, batch, ["global"])
        q = self.targets(teacher_logits, self.config.teacher_temperature)  # (G, B, K)
        distil = distil_loss(logits, q, self.config.student_temperature)
        regular = rdino_regulariser(
            dist.gather(wide), dist.gather(teacher_wide), self.features,
            self.config.variance_weight, self.config.covariance_weight,
        )  # fmt: skip
        weight = epoch_ramp(*self.config.weight, t.epoch, self.config.weight_epochs)
        parts = {"distil": distil.detach(), "variance": regular.variance.detach(), "cov": regular.covariance.detach()}
        return Step(distil + weight * regular.loss, {**parts, **self.targets.scalars(q), **spread(embeddings[0])}, {})

    def _look(self, branch: Branch, batch: Batch, kinds: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of the first kind (n, B, D), logits of all (V, B, K), z of the long crops, averaged (B, W).

        Encoder and head see each kind by itself, as in 3D-Speaker.
        """
        embeddings, logits, wide = [], [], None
        for kind in kinds:
            embeddings.append(encode_views(branch.encoder, batch.views[kind]))  # (n, B, D)
            out = branch.head(embeddings[-1].flatten(0, 1))
            logits.append(out.logits.unflatten(0, embeddings[-1].shape[:2]))  # (n, B, K)
            if kind == "global":
                wide = out.wide.unflatten(0, embeddings[-1].shape[:2]).mean(dim=0)  # (B, W)
        return embeddings[0], torch.cat(logits), wide

    def after_backward(self, t: Progress) -> None:
        if t.step < self.config.freeze_epochs * t.steps_per_epoch:
            for parameter in last_layers(self.pair.student):
                parameter.grad = None

    def after_step(self, t: Progress) -> None:
        self.pair.follow(cosine(*self.config.ema, t.fraction))

    def embedder(self) -> nn.Module:
        return getattr(self.pair, self.config.deploy).encoder
