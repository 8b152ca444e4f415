"""SSRL, self-supervised reflective learning (Cai et al., IEEE TASLP 33, 2025, arXiv 2401.01473): one run, no rounds.

A classifier over K clusters, its rows the cluster centres, is the student; a moving average of all of it the teacher:
    L = sum_u p_u CE(z_u, y_u) / sum_u p_u,  z_k = s cos_k,  z_y = s cos(theta_y + m),  z_k = -inf for removed k
    theta_T <- d theta_T + (1 - d) theta_S for the parameters and BatchNorm statistics of encoder and head
After every epoch the teacher's classes of long clean crops enter a queue of L per utterance, and
    y_u = vote(queue_u);  removed = classes no y_u names;  p_u = P(clean | ln l_u), two Gaussians on ln l
with l_u the teacher's loss. Labels stay for E epochs; predictions are gathered from epoch E - (L // 2 + 1), so that the
queue, which starts with L // 2 copies of the cluster, is full at the first vote.

The released code does some things that work against the idea. Each is a switch; `faithful: true` sets all that are not
given.
    vote_margin   the teacher predicts under the margin at the current label, which drives it away from that label
    loss_margin   l_u has the margin only where the label did not change, so that changed labels look cleaner
    early_loss    before the first vote l_u is of the teacher's own prediction, which turns the weights upside down
    monotone      p rises again for huge losses where the clean component is the wider one
    fallback      weights that rest on few samples, or on two components that are one, are used nevertheless
    tie           the same there (the newest prediction), but its Python, from 3.8 on, takes the oldest
    dropout       the paper's model noise: there 0.5 before a linear head, and none before the AAM head
Its augmentation is `ssrl_faithful`, its first learning rate `late_start` of the schedule. Departures that stay: the
mixture starts from the best cut instead of a random one on each rank, the loss is normalised over all ranks, teacher
losses are taken in double precision, and 1 - cos^2 is kept above 0. Without centroids the labels were given by hand
(the supervised reference) and are neither voted on nor weighed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spkssl import dist
from spkssl.contract import Batch, Facts, MakeEncoder, Progress, Step, ViewSpec
from spkssl.errors import complain
from spkssl.losses.aam import aam_logits, cross_entropies, weighted_mean
from spkssl.losses.noise_model import effective_sample_size, fit_clean
from spkssl.losses.sinkhorn import sinkhorn_targets
from spkssl.losses.spread import spread
from spkssl.methods.hooks import Hooks
from spkssl.nn import ema
from spkssl.nn.distillation import Branch
from spkssl.nn.heads import CosineClassifier, LinearClassifier
from spkssl.nn.label_queue import LabelQueue
from spkssl.nn.schedules import linear

# Switch -> (recommended, released code).
_SWITCHES: dict[str, tuple[Any, Any]] = {
    "vote_margin": (False, True),
    "loss_margin": ("scored", "current"),
    "early_loss": ("label", "prediction"),
    "monotone": (True, False),
    "fallback": (True, False),
    "variance_floor": (1e-3, 1e-6),  # released: scikit-learn's
}
_SMALL = 2000  # fewer utterances than this lose more of both tails to the mixture's percentiles
_STATS = ("active_classes", "changed_labels", "clean_mean", "effective_share")


@dataclass(frozen=True)
class Config:
    """Fields whose default is None are resolved by `faithful`, or as their comment says."""

    name: str = "ssrl"
    faithful: bool = False
    student_frames: int = 200  # 2 s
    teacher_frames: int = 600  # 6 s; not more than most utterances have
    head: Literal["aam", "linear"] = "aam"
    dropout: float | None = None  # on the student's embedding; None: 0.5 before the linear head, 0 before AAM
    scale: float = 32.0  # of AAM
    margin: float = 0.2  # of AAM; 0.1 where clusters are only half pure
    fixed_epochs: int = 5  # E: as many epochs pass before the first vote
    queue: int = 5  # L: predictions that vote; 1: the last one decides
    tie: Literal["newest", "oldest"] = "newest"
    relabel: Literal["argmax", "sinkhorn"] = "argmax"
    sinkhorn: tuple[float, int] = (0.05, 3)  # temperature of the class probabilities, rounds
    weights: Literal["soft", "none"] = "soft"
    ema: tuple[float, float] | None = None  # teacher momentum, linear; published: 0.999, 0.9999; None: ema_epochs
    ema_epochs: tuple[float, float] = (0.44, 4.4)  # averaging window in epochs: the published ones at 2275 steps each
    percentiles: tuple[float, float] | None = None  # None: 0.1 and 99.9; 0.5 and 99.5 of less than 2000 utterances
    log_floor: float = -20.0  # of ln l
    variance_floor: float | None = None
    min_sample_share: float = 0.2  # fallback: effective sample size of the weights over their number
    min_separation: float = 1.0  # fallback: of the means, in pooled standard deviations
    vote_margin: bool | None = None
    loss_margin: Literal["scored", "current", "none"] | None = None  # scored: at the label the loss is taken for
    early_loss: Literal["label", "prediction"] | None = None
    monotone: bool | None = None
    fallback: bool | None = None
    deploy: Literal["teacher", "student"] = "teacher"

    def __post_init__(self) -> None:
        for name, choices in _SWITCHES.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, choices[self.faithful])
        if self.queue < 1 or self.fixed_epochs < 0:
            raise ValueError(f"queue: at least 1, fixed_epochs: at least 0 (got {self.queue}, {self.fixed_epochs})")
        if self.ema is None and self.faithful:
            object.__setattr__(self, "ema", (0.999, 0.9999))
        if self.percentiles is None and self.faithful:
            object.__setattr__(self, "percentiles", (0.1, 99.9))
        if self.dropout is None:
            object.__setattr__(self, "dropout", 0.5 if self.head == "linear" else 0.0)


class Ssrl(Hooks):
    clean: Tensor
    stats: Tensor

    def __init__(self, config: Config, make_encoder: MakeEncoder, facts: Facts) -> None:
        super().__init__()
        self.config = config
        self.views = (
            ViewSpec("student", config.student_frames),
            ViewSpec("teacher", config.teacher_frames, augment=False),
        )
        encoder = make_encoder()
        self.student = Branch(encoder, _head(config, encoder.embed_dim, facts))
        self.teacher = ema.frozen_copy(self.student)
        self.reflects = facts.centroids is not None
        assert facts.labels is not None
        self.labels = LabelQueue(torch.from_numpy(facts.labels), facts.num_classes, config.queue, config.tie)
        self.register_buffer("clean", torch.ones(facts.num_utts))  # (N,) p_u
        self.register_buffer("stats", torch.tensor([float(self.labels.active()), 0.0, 1.0, 1.0]))  # of the last epoch
        self.train()

    def train(self, mode: bool = True) -> Ssrl:
        super().train(mode)
        self.teacher.eval()  # averaged BatchNorm statistics, no dropout
        return self

    def forward(self, batch: Batch, t: Progress) -> Step:
        label, weight = self.labels.labels[batch.index], self.clean[batch.index]  # (B,) both
        records = self.judge(batch, label, t) if self.reflects and t.epoch >= self.first_judged else {}
        embeddings = self.student([batch.views["student"]])[0]  # (B, D)
        scores = self.student.head(embeddings)  # (B, K)
        losses = cross_entropies(self.logits(scores, label), label)  # (B,)
        # The mean over ranks of what each makes of its own rows is then the mean of the whole batch.
        share = weight.sum() * dist.world_size() / dist.total(weight.sum()).clamp_min(1e-8)
        scalars = {
            **dict(zip(_STATS, self.stats.clone().unbind(), strict=True)),
            "accuracy": (self.logits(scores.detach(), None).argmax(dim=1) == label).float().mean(),
            **spread(embeddings),
        }
        return Step(weighted_mean(losses, weight) * share, scalars, records)

    @torch.no_grad()
    def judge(self, batch: Batch, label: Tensor, t: Progress) -> dict[str, Tensor]:
        """The teacher's class of each utterance, and its loss under the label the utterance would get now."""
        config = self.config
        scores = self.teacher.head(self.teacher([batch.views["teacher"]])[0]).double()  # (B, K)
        prediction = self.predict(self.logits(scores, label if config.vote_margin else None))  # (B,)
        if self.votes(t):
            scored = self.labels.vote_with(batch.index, prediction)
        else:
            scored = prediction if config.early_loss == "prediction" else label
        at = {"scored": scored, "current": label, "none": None}[config.loss_margin]
        return {"prediction": prediction, "loss": cross_entropies(self.logits(scores, at), scored)}

    def logits(self, scores: Tensor, label: Tensor | None) -> Tensor:
        """(B, K) of the head's output; margin at `label` (B,), or none; -inf for removed classes."""
        margin, scale = (self.config.margin, self.config.scale) if self.config.head == "aam" else (0.0, 1.0)
        return aam_logits(scores, label, margin, scale, self.labels.removed)

    def predict(self, logits: Tensor) -> Tensor:
        """(B, K) -> (B,) classes; by Sinkhorn all classes that are left get an equal share of the batch."""
        if self.config.relabel == "argmax":
            return logits.argmax(dim=1)
        temperature, rounds = self.config.sinkhorn
        probability = logits.softmax(dim=1).masked_fill(self.labels.removed, float("-inf"))
        return sinkhorn_targets(probability, temperature, rounds, dist.total).argmax(dim=1)

    @property
    def first_judged(self) -> int:
        return self.config.fixed_epochs - (self.config.queue // 2 + 1)

    def votes(self, t: Progress) -> bool:
        """Whether this epoch ends with new labels."""
        return t.epoch + 1 >= self.config.fixed_epochs

    def momentum(self, t: Progress) -> float:
        if self.config.ema is not None:
            return linear(*self.config.ema, t.fraction)
        start, end = (1 - 1 / max(window * t.steps_per_epoch, 1.0) for window in self.config.ema_epochs)
        return linear(start, end, t.fraction)

    def after_step(self, t: Progress) -> None:
        ema.update(self.teacher, self.student, self.momentum(t), buffers="ema")

    def end_epoch(self, records: dict[str, Tensor], t: Progress) -> None:
        if not records:
            return
        index = records["index"]
        # A sampler may visit an utterance several times: its last visit counts. Equal ones lie side by side.
        last = torch.cat([index[1:] != index[:-1], index.new_ones(1, dtype=torch.bool)])
        self.labels.remember(index[last], records["prediction"][last])
        changed = self.labels.relabel() if self.votes(t) else self.stats.new_zeros(())
        if self.config.weights == "soft":
            self.weigh(index[last], records["loss"][last])
        weight = self.clean[index[last]]
        effective = effective_sample_size(weight) / len(weight)
        values = [self.labels.active(), changed, weight.mean(), effective]
        self.stats.copy_(torch.stack([value.to(self.stats.dtype) for value in values]))

    def weigh(self, index: Tensor, losses: Tensor) -> None:
        """p_u of the utterances in `index` from their losses of the last epoch; 1 for all where these cannot tell."""
        config = self.config
        fit = fit_clean(
            # Infinite: the vote went to a class that is removed.
            losses.nan_to_num(posinf=float(losses[losses.isfinite()].max())),
            config.percentiles or ((0.5, 99.5) if len(losses) < _SMALL else (0.1, 99.9)),
            config.log_floor,
            variance_floor=config.variance_floor,
            monotone=config.monotone,
            min_sample_share=config.min_sample_share,
            min_separation=config.min_separation,
        )
        trusted = fit.trusted or not config.fallback
        self.clean[index] = fit.probability.to(self.clean.dtype) if trusted else 1.0
        dist.broadcast(self.clean)  # the ranks computed the same, but perhaps not to the last bit

    def per_utterance(self) -> dict[str, Tensor]:
        return {"label": self.labels.labels, "clean": self.clean}

    def embedder(self) -> nn.Module:
        return getattr(self, self.config.deploy).encoder


def _head(config: Config, dim: int, facts: Facts) -> nn.Module:
    """Dropout and the classifier, its rows at the centroids where there are any."""
    classifier: CosineClassifier | LinearClassifier
    if config.head == "aam":
        classifier = CosineClassifier(dim, facts.num_classes)
    else:
        classifier = LinearClassifier(dim, facts.num_classes, dropout=0.0)
    if facts.centroids is not None:
        if facts.centroids.shape != (facts.num_classes, dim):
            what = f"centroids do not fit (got {facts.centroids.shape}, expected {(facts.num_classes, dim)})"
            raise complain("ssrl", what, "cluster the embeddings of the encoder that retrain.start names")
        classifier.start_from(torch.from_numpy(facts.centroids))
    return nn.Sequential(nn.Dropout(config.dropout), classifier)
