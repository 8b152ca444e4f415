"""MeMo: multi-head multi-mode knowledge distillation (Jin, Tu, Mak, Interspeech 2024, 10.21437/Interspeech.2024-360).

Two architectures, each a student and its moving-average teacher, learn from their own teacher and from the other's.
Every network has a self-head and a cross-head, so that the two kinds of target do not meet in one head. Of
architecture a, with b the other one:
    L_a = D(self_a(S_a), self_a(T_a)) + lambda_a D(cross_a(S_a), cross_b(T_b)) + alpha_a(t) C(S_a, T_a)
D is DINO's loss over crops with a centre of its own for each use: four centres. C is contrastive between the
embeddings of student and teacher on the two long crops; alpha_a is 1 until the term is stopped, then 0 for good.
No gradient of L_a reaches b, so that L = L_first + L_second in one optimiser is the released code's two optimisers.
Departures: the rule of the stop is ours (`nn/stopping.py`), as the paper's is not published and the released code has
none; lambda is that of the released code's run names, not its YAML's; `targets: sinkhorn` may replace the centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spkssl import config as settings
from spkssl.contract import Batch, Facts, MakeEncoder, Progress, Step, ViewSpec
from spkssl.losses.dino import distil_loss
from spkssl.losses.nt_xent import memo_contrastive
from spkssl.losses.plateau import gradient_agreement
from spkssl.losses.spread import spread
from spkssl.methods.hooks import Hooks
from spkssl.nn.distillation import StudentTeacher, encode_views
from spkssl.nn.embedder import encoder_configs
from spkssl.nn.heads import DinoHead, DinoHeadConfig, last_layers
from spkssl.nn.schedules import cosine, epoch_ramp
from spkssl.nn.stopping import Stop, StopConfig
from spkssl.nn.targets import SharpTargets, TargetConfig

OTHER = {"first": "second", "second": "first"}  # first: the system's encoder, the one that is deployed


@dataclass(frozen=True)
class Config:
    name: str = "memo"
    second: Any = settings.choice(encoder_configs, "resnet")  # the other architecture; released: width 16
    global_frames: int = 400  # released: 2 x 4 s
    local_frames: int = 200  # 4 x 2 s
    local_count: int = 4
    head: DinoHeadConfig = DinoHeadConfig()  # each of the eight heads
    student_temperature: float = 0.1
    targets: TargetConfig = TargetConfig()
    teacher_temperature: tuple[float, float] = (0.04, 0.07)  # from, to
    temperature_warmup: float = 0.2  # share of the epochs: 30 of 150
    cross_weight: tuple[float, float] = (0.1, 1.0)  # lambda of first, second: run name "lecapa_0.1_lresnet_1"
    contrastive_weight: float = 1.0  # alpha before the stop; 0: never any
    contrastive_scale: float = 10.0  # of the cosines; fixed in the released code
    contrastive_base: float = 0.07  # divides the term, which at the start is then five times DINO's
    stop: StopConfig = StopConfig()
    ema: tuple[float, float] = (0.996, 1.0)  # momentum of both teachers, cosine from, to
    freeze_epochs: float = 1.0  # gradients of all last layers are dropped for so long
    lr_scale: tuple[float, float] = (1.0, 1.0)  # of first, second
    deploy: Literal["teacher", "student"] = "teacher"
    deploy_of: Literal["first", "second"] = "first"

    def __post_init__(self) -> None:
        if min(*self.cross_weight, self.contrastive_weight) < 0:
            raise ValueError("cross_weight and contrastive_weight must not be negative")


class Memo(Hooks):
    def __init__(self, config: Config, make_encoder: MakeEncoder, facts: Facts) -> None:
        super().__init__()
        self.config = config
        self.views = (
            ViewSpec("global", config.global_frames, count=2),
            ViewSpec("local", config.local_frames, count=config.local_count),
        )[: 2 if config.local_count else 1]
        self.cross_weight = dict(zip(OTHER, config.cross_weight, strict=True))
        pairs = {"first": _pair(make_encoder(), config.head), "second": _pair(make_encoder(config.second), config.head)}
        self.pairs = nn.ModuleDict(pairs)
        # By who learns: self_first follows the first teacher's self-head, cross_first the second teacher's cross-head.
        uses = [f"{kind}_{name}" for kind in ("self", "cross") for name in OTHER]
        self.targets = nn.ModuleDict({use: SharpTargets(config.targets, config.head.out) for use in uses})
        self.stops = nn.ModuleDict({name: Stop(config.stop) for name in OTHER})

    def forward(self, batch: Batch, t: Progress) -> Step:
        taught = {name: encode_views(p.teacher.encoder, batch.views["global"]) for name, p in self.pairs.items()}
        steps = {name: self._learn(name, taught, batch, t) for name in OTHER}
        scalars = {f"{key}_{name}": value for name, step in steps.items() for key, value in step.scalars.items()}
        records = {f"{key}_{name}": value for name, step in steps.items() for key, value in step.records.items()}
        return Step(steps["first"].loss + steps["second"].loss, {**_worst(scalars), **scalars}, records)

    def _learn(self, name: str, taught: dict[str, Tensor], batch: Batch, t: Progress) -> Step:
        """L_a of one architecture; `taught` holds the teachers' embeddings of the long crops, (2, B, D) each."""
        encoder = self.pairs[name].student.encoder
        kinds = [encode_views(encoder, batch.views[view.name]) for view in self.views]  # (n, B, D) each
        embeddings = torch.cat(kinds)  # (V, B, D)
        distil, scalars = self._distil("self", name, name, embeddings, taught, t)
        if self.cross_weight[name]:
            cross, of_cross = self._distil("cross", name, OTHER[name], embeddings, taught, t)
            distil, scalars = distil + self.cross_weight[name] * cross, {**scalars, **of_cross}
        scalars |= spread(kinds[0][0])
        if not self._contrasts(name):
            return Step(distil, scalars, {})
        contrastive = self.config.contrastive_weight * memo_contrastive(
            kinds[0], taught[name], self.config.contrastive_scale, base_temperature=self.config.contrastive_base
        )
        watched, scalars["contrastive"] = contrastive.detach(), contrastive.detach()
        if self.config.stop.rule == "gradient":
            watched = self._agreement(distil, contrastive, kinds[0], t)
            scalars |= {"agreement": watched} if watched.isfinite() else {}
        return Step(distil + contrastive, scalars, {"watched": watched.expand(len(batch.index))})

    def _distil(
        self, kind: str, name: str, source: str, embeddings: Tensor, taught: dict[str, Tensor], t: Progress
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One DINO term, from the teacher of `source`, whose logits live no longer than it takes to sharpen them."""
        targets = self.targets[f"{kind}_{name}"]
        # Not `dino_loss_fused`, which holds no logits either: at the published sizes logits and targets are 8 MB an
        # utterance of 500 MB, most of them the ResNet's activations.
        q = targets(_logits(self.pairs[source].teacher.head[kind], taught[source]), self.temperature(t))  # (2, B, K)
        logits = _logits(self.pairs[name].student.head[kind], embeddings)  # (V, B, K)
        loss = distil_loss(logits, q, self.config.student_temperature)
        return loss, {kind: loss.detach(), **{f"{key}_{kind}": value for key, value in targets.scalars(q).items()}}

    def _contrasts(self, name: str) -> bool:
        return self.config.contrastive_weight > 0 and self.stops[name].on

    def _agreement(self, distil: Tensor, contrastive: Tensor, embeddings: Tensor, t: Progress) -> Tensor:
        """Mean cosine of the two terms' gradients at the long crops' embeddings; NaN where it is not measured."""
        if t.step % t.steps_per_epoch % self.config.stop.every or not distil.requires_grad:
            return torch.full((), float("nan"), device=distil.device)
        pulls = [torch.autograd.grad(term, embeddings, retain_graph=True)[0] for term in (distil, contrastive)]
        return gradient_agreement(*(pull.flatten(0, 1) for pull in pulls))

    def temperature(self, t: Progress) -> float:
        return epoch_ramp(*self.config.teacher_temperature, t.epoch, round(self.config.temperature_warmup * t.epochs))

    def param_groups(self) -> list[dict[str, Any]]:
        scales = zip(self.pairs.values(), self.config.lr_scale, strict=True)
        return [{"params": list(pair.student.parameters()), "lr_scale": scale} for pair, scale in scales]

    def after_backward(self, t: Progress) -> None:
        if t.step < self.config.freeze_epochs * t.steps_per_epoch:
            for pair in self.pairs.values():
                for parameter in last_layers(pair.student):
                    parameter.grad = None

    def after_step(self, t: Progress) -> None:
        for pair in self.pairs.values():
            pair.follow(cosine(*self.config.ema, t.fraction))

    def end_epoch(self, records: dict[str, Tensor], t: Progress) -> None:
        for name in OTHER:
            if f"watched_{name}" in records:
                self.stops[name].end_epoch(float(records[f"watched_{name}"].double().nanmean()), t)

    def embedder(self) -> nn.Module:
        return getattr(self.pairs[self.config.deploy_of], self.config.deploy).encoder


def _pair(encoder: Any, head: DinoHeadConfig) -> StudentTeacher:
    heads = {kind: DinoHead(encoder.embed_dim, head) for kind in ("self", "cross")}
    return StudentTeacher(encoder, nn.ModuleDict(heads))


def _logits(head: nn.Module, embeddings: Tensor) -> Tensor:
    """(V, B, D) -> (V, B, K)."""
    return head(embeddings.flatten(0, 1)).logits.unflatten(0, embeddings.shape[:2])


def _worst(scalars: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the health monitor reads: a collapse of either network, or of any of the four targets."""
    found = {}
    for key, worst in (("embed_std", torch.amin), ("embed_cos", torch.amax), ("entropy", torch.amin)):
        values = [value for name, value in scalars.items() if name.startswith(f"{key}_")]
        found |= {key: worst(torch.stack(values))} if values else {}
    return found
