"""DINO (Caron et al., ICCV 2021, arXiv 2104.14294) for speakers, as in wespeaker's recipe (arXiv 2210.15936).

A student sees G long and some short crops, a moving-average teacher only the long ones; every student crop must match
the teacher's softmax of every other crop over K outputs:
    L = 1/(GV - G) sum_i sum_{v != i} mean_batch -sum_k q_ik ln s_vk
    q_i = softmax((T_i - c) / tau_t),  s_v = softmax(S_v / tau_s),  c <- m c + (1 - m) mean T
Departures, by choice of the configuration: `targets: sinkhorn` replaces the centre by equipartition of the batch over
the outputs (as SwAV and DINOv2 do), which learns in a few hundred steps where the centre does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from spkssl.contract import Batch, Facts, MakeEncoder, Progress, Step, ViewSpec
from spkssl.losses.dino import distil_loss
from spkssl.losses.spread import spread
from spkssl.methods.hooks import Hooks
from spkssl.nn.distillation import StudentTeacher
from spkssl.nn.heads import DinoHead, DinoHeadConfig, last_layers
from spkssl.nn.schedules import cosine, epoch_ramp
from spkssl.nn.targets import SharpTargets, TargetConfig


@dataclass(frozen=True)
class Config:
    name: str = "dino"
    global_frames: int = 300  # wespeaker: 2 x 3 s
    global_count: int = 2
    local_frames: int = 200  # wespeaker: 4 x 2 s
    local_count: int = 4
    head: DinoHeadConfig = DinoHeadConfig()
    student_temperature: float = 0.1
    targets: TargetConfig = TargetConfig()
    teacher_temperature: tuple[float, float] = (0.04, 0.07)  # from, to
    temperature_warmup: float = 0.2  # share of the epochs: 30 of 150
    ema: tuple[float, float] = (0.996, 1.0)  # teacher momentum, cosine from, to
    freeze_epochs: float = 1.0  # the last layer's gradients are dropped for so long
    deploy: Literal["teacher", "student"] = "teacher"


class Dino(Hooks):
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

    def forward(self, batch: Batch, t: Progress) -> Step:
        student, teacher = self.pair.student, self.pair.teacher
        embeddings = student([batch.views[view.name] for view in self.views])  # (V, B, D)
        logits = student.head(embeddings.flatten(0, 1)).logits.unflatten(0, embeddings.shape[:2])  # (V, B, K)
        teacher_logits = teacher.head(teacher([batch.views["global"]]).flatten(0, 1)).logits
        temperature = self.temperature(t)
        q = self.targets(teacher_logits.unflatten(0, (self.config.global_count, -1)), temperature)  # (G, B, K)
        loss = distil_loss(logits, q, self.config.student_temperature)
        return Step(loss, {**self.targets.scalars(q), **spread(embeddings[0])}, {})

    def temperature(self, t: Progress) -> float:
        return epoch_ramp(*self.config.teacher_temperature, t.epoch, round(self.config.temperature_warmup * t.epochs))

    def after_backward(self, t: Progress) -> None:
        if t.step < self.config.freeze_epochs * t.steps_per_epoch:
            for parameter in last_layers(self.pair.student):
                parameter.grad = None

    def after_step(self, t: Progress) -> None:
        self.pair.follow(cosine(*self.config.ema, t.fraction))

    def embedder(self) -> nn.Module:
        return getattr(self.pair, self.config.deploy).encoder
