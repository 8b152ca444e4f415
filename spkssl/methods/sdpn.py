"""SDPN, the self-distillation prototypes network (Chen et al., ICASSP 2025, arXiv 2308.02774).

A moving-average teacher sees one long clean crop of an utterance, the student four short augmented ones. With one bank
of K unit prototypes c_k, shared by both, and unit outputs u (student, V short crops) and w (teacher):
    p_k = softmax_k(u . c_k / tau),   q = Sinkhorn(softmax_k(w . c_k / (tau T)))  over the global batch, no gradient
    L = L_CE + mu_ME L_ME + mu_KO sum_v L_KO,v + mu_DIM (L_DIM(student) + L_DIM(teacher))
    L_CE = mean_{v,j} -sum_k q_jk ln p_vjk            every short crop against the one target of its utterance
    L_ME = ln K - H(mean p), the mean over all ranks  (Masked Siamese Networks)
    L_KO,v = -mean_j ln |n_j - n_nearest(j)|         of the student's unit embeddings, KoLeo: the paper's diversity term
L_DIM is the follow-up's dimension regularisation (arXiv 2505.13826), off by default: ln ||C||_F of the cosines C
between dimensions or their off-diagonal energy over D, of the gathered batch; the teacher's half carries no gradient.

Where paper and released code (3D-Speaker) differ, a switch decides; what was a defect of the code is mended:
- The paper's loss has no L_ME; the code's has it with weight 1, as here. `me_max: 0` is the paper.
- The code trained its prototypes only from April 2025 on, after the published figures. Here they learn;
  `prototypes: frozen` keeps them where they began.
- The code sums the prototypes' gradient over ranks where all others are averaged, L_ME's share included. Here it is
  averaged, so that ranks are only a way to split a batch; `prototype_gradient: sum` is the code.
- L_KO looks for neighbours among a rank's own utterances, as in the code, so it does depend on the split;
  `koleo_gather` looks among all.
- The code trains on the scale of int16 and extracts at +-1, which raises its log floor by 90 dB. The front-end here
  always scales to int16, so both agree; `frontend.log_floor: -13.8155` is the code's ln 1e-6.
- The code pads short recordings with zeros; here they are repeated. A recording exactly as long as the long crop has
  one place to start, where the code fails.
- The code transforms two short crops as one, so frames at their joint mix both. Here every crop is its own.
- Band erasing belongs to the augmentation `sdpn`; it leaves the teacher's clean crop alone, as all augmentation does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spkssl import dist
from spkssl.contract import Batch, Facts, MakeEncoder, Progress, Step, ViewSpec
from spkssl.losses.dimension import frobenius, off_diagonal
from spkssl.losses.koleo import koleo
from spkssl.losses.me_max import me_max
from spkssl.losses.prototypes import prototype_loss, prototype_targets
from spkssl.losses.spread import spread
from spkssl.methods.hooks import Hooks
from spkssl.nn.distillation import Branch, StudentTeacher, encode_views
from spkssl.nn.heads import ProjectionConfig, ProjectionHead, ProjectionOutput, Prototypes
from spkssl.nn.schedules import cosine

_DIMENSION = {"fro": frobenius, "off": off_diagonal}


@dataclass(frozen=True)
class Config:
    """Numbers without a source of their own are those of 3D-Speaker's sv-sdpn recipe."""

    name: str = "sdpn"
    global_frames: int = 400  # 4 s, one crop
    global_augment: bool = False
    local_frames: int = 200  # 2 s
    local_count: int = 4
    head: ProjectionConfig = ProjectionConfig()
    num_prototypes: int = 1024  # with little data no more than four times the batch: Sinkhorn shares it out evenly
    prototypes: Literal["learned", "frozen"] = "learned"
    prototype_gradient: Literal["mean", "sum"] = "mean"  # over ranks; sum: 3D-Speaker
    temperature: float = 0.1  # tau
    sharpening: float = 0.25  # T: targets are a softmax at tau T
    sinkhorn_rounds: int = 3
    me_max: float = 1.0  # weight; 0: the paper. With sharp assignments L_ME has the floor ln(K / batch)
    koleo: float = 0.1  # weight; less where a batch often holds a speaker twice, whom it would tear apart
    koleo_over: Literal["sum", "mean"] = "sum"  # over the short crops
    koleo_gather: bool = False  # neighbours among all ranks
    dimension: Literal["none", "fro", "off"] = "none"
    dimension_weight: float = 0.1  # sslsv's order of magnitude, the paper's is not public; 0.05 suits `off`
    dimension_on: Literal["head", "embedding"] = "head"  # the head's output before its norm (sslsv), or the embedding
    ema: tuple[float, float] = (0.996, 1.0)  # teacher momentum, cosine from, to
    deploy: Literal["teacher", "student"] = "teacher"

    def __post_init__(self) -> None:
        if self.local_count < 1 or self.num_prototypes < 2:
            what = f"got local_count {self.local_count}, num_prototypes {self.num_prototypes}"
            raise ValueError(f"the student needs a crop and two prototypes to choose from ({what})")
        if self.temperature <= 0 or self.sharpening <= 0:
            raise ValueError(f"temperature and sharpening must be positive (got {self.temperature}, {self.sharpening})")
        if min(self.me_max, self.koleo, self.dimension_weight) < 0:
            raise ValueError("me_max, koleo and dimension_weight are weights and must not be negative")


class Sdpn(Hooks):
    def __init__(self, config: Config, make_encoder: MakeEncoder, facts: Facts) -> None:
        super().__init__()
        self.config = config
        self.views = (
            ViewSpec("global", config.global_frames, augment=config.global_augment),
            ViewSpec("local", config.local_frames, count=config.local_count),
        )
        encoder = make_encoder()
        self.pair = StudentTeacher(encoder, ProjectionHead(encoder.embed_dim, config.head))
        self.prototypes = Prototypes(config.num_prototypes, config.head.out)
        self.prototypes.requires_grad_(config.prototypes == "learned")

    def forward(self, batch: Batch, t: Progress) -> Step:
        config, prototypes = self.config, self.prototypes.weight
        embeddings, student = _look(self.pair.student, batch.views["local"])  # (V, B, D), (V B, P)
        with torch.no_grad():
            teacher_embeddings, teacher = _look(self.pair.teacher, batch.views["global"])  # (1, B, D), (B, P)
        targets = prototype_targets(
            teacher.unit, prototypes, config.temperature, config.sharpening, config.sinkhorn_rounds, dist.total
        )  # (B, K)
        unit = student.unit.unflatten(0, embeddings.shape[:2])  # (V, B, P)
        distil = prototype_loss(unit, prototypes, targets, config.temperature)
        # Each rank hands back only its own share of the gradient of the mean; averaging it over ranks is DDP's.
        uneven = me_max(dist.mean(distil.mean_probs))
        crowded = self._koleo(embeddings)
        loss = distil.loss + config.me_max * uneven + config.koleo * crowded
        parts = {"distil": distil.loss, "me_max": uneven, "koleo": crowded}
        if config.dimension != "none":
            on_head = config.dimension_on == "head"
            parts["dimension"] = self._dimension(student.raw if on_head else embeddings.flatten(0, 1))
            parts["dimension_teacher"] = self._dimension(teacher.raw if on_head else teacher_embeddings.flatten(0, 1))
            loss = loss + config.dimension_weight * (parts["dimension"] + parts["dimension_teacher"])
        scalars = {name: value.detach() for name, value in parts.items()}
        return Step(loss, {**scalars, **self._health(uneven, teacher), **spread(embeddings[0])}, {})

    def _koleo(self, embeddings: Tensor) -> Tensor:
        """Of the student's embeddings (V, B, D), each short crop by itself."""
        if self.config.koleo_gather:
            embeddings = dist.gather(embeddings.float().transpose(0, 1)).transpose(0, 1)  # (V, world * B, D)
        each = koleo(embeddings)  # (V,)
        return each.sum() if self.config.koleo_over == "sum" else each.mean()

    def _dimension(self, rows: Tensor) -> Tensor:
        # In float32 before the gather: its backward sums over ranks.
        return _DIMENSION[self.config.dimension](dist.gather(rows.float()))

    @torch.no_grad()
    def _health(self, uneven: Tensor, teacher: ProjectionOutput) -> dict[str, Tensor]:
        """entropy: of the students' mean assignment over ln K. distinct: prototypes nearest to some teacher output."""
        nearest = self.prototypes(teacher.unit).argmax(dim=-1)  # (B,) before Sinkhorn, which would hide a collapse
        hits = dist.total(torch.bincount(nearest, minlength=self.config.num_prototypes))  # (K,)
        entropy = 1 - uneven.detach() / math.log(self.config.num_prototypes)  # L_ME = ln K - H
        return {"entropy": entropy, "distinct": (hits > 0).sum().float()}

    def param_groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [{"params": list(self.pair.student.parameters())}]
        if self.config.prototypes == "learned":
            # No decay, which would shrink what is normalised at use and so enlarge its steps; no clipping.
            groups.append({"params": [self.prototypes.weight], "decay": False, "clip": False})
        return groups

    def after_backward(self, t: Progress) -> None:
        if self.config.prototype_gradient == "sum" and self.prototypes.weight.grad is not None:
            self.prototypes.weight.grad.mul_(dist.world_size())

    def after_step(self, t: Progress) -> None:
        self.pair.follow(cosine(*self.config.ema, t.fraction))

    def embedder(self) -> nn.Module:
        return getattr(self.pair, self.config.deploy).encoder


def _look(branch: Branch, views: Tensor) -> tuple[Tensor, ProjectionOutput]:
    """Crops (B, n, ...) -> embeddings (n, B, D) and the head's outputs (n B, P), crop-major."""
    embeddings = encode_views(branch.encoder, views)
    return embeddings, branch.head(embeddings.flatten(0, 1))
