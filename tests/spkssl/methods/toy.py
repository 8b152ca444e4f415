"""A toy world for every method: four speakers in memory, a tiny encoder, a tiny configuration each.

A new method needs one entry in TINY.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from spkssl import dist, rng
from spkssl.audio.fbank import FbankConfig
from spkssl.contract import Facts, Method
from spkssl.data.dataset import Utterances
from spkssl.data.loader import Loader
from spkssl.methods import (
    METHODS,
    aam,
    aamsupcon,
    dino,
    dlg_lc,
    lgl,
    make_method,
    memo,
    moco,
    rdino,
    sdpn,
    simclr,
    ssrl,
)  # fmt: skip
from spkssl.nn.ecapa import EcapaConfig
from spkssl.nn.embedder import Embedder, make_embedder
from spkssl.nn.frontend import FrontendConfig
from spkssl.nn.gating import MixtureConfig
from spkssl.nn.heads import DinoHeadConfig, ProjectionConfig
from spkssl.nn.resnet import ResNetConfig
from spkssl.nn.schedules import ScheduleConfig
from spkssl.nn.stopping import StopConfig
from spkssl.nn.targets import TargetConfig
from spkssl.training.loop import LoopConfig, train
from spkssl.training.optim import OptimConfig

MELS, FRAMES, SPEAKERS, UTTS, BATCH = 8, 40, 4, 24, 8


@dataclass(frozen=True)
class Tiny:
    config: Any
    same_on_ranks: bool = True  # one process and two ranks agree: False where a term sees only a rank's own rows
    idle: tuple[str, ...] = ()  # beginnings of the names of trainable parameters the first steps may leave alone
    labels: bool = False  # trains on labels
    lr: float = 2e-3


_HEAD = DinoHeadConfig(hidden=24, bottleneck=12, out=16)
_CROPS = dict(global_frames=20, local_frames=14, local_count=2, freeze_epochs=0.5, ema=(0.8, 1.0))
_MEMO = dict(head=_HEAD, second=ResNetConfig(width=4, blocks=(1, 1), embed_dim=10), cross_weight=(0.5, 1.0), **_CROPS)
_SDPN = dict(
    global_frames=20, local_frames=14, head=ProjectionConfig(hidden=24, out=12), num_prototypes=12, ema=(0.8, 1.0)
)
_SSRL = dict(student_frames=16, teacher_frames=30, scale=16.0, fixed_epochs=1)
_ANY_FIT = MixtureConfig(min_count=4, min_separation=0.0, acceptance=(0.0, 1.0))

TINY: dict[str, Tiny] = {
    "simclr": Tiny(simclr.Config(frames=16, hidden=16, out=12)),
    "simclr adversarial": Tiny(
        simclr.Config(frames=16, loss="nt_xent_scaled", scale=2.0, aat_weight=0.5, aat_hidden=8, pass_per_crop=True)
    ),
    "simclr prototypical": Tiny(simclr.Config(frames=16, loss="angular_prototypical")),
    "moco": Tiny(moco.Config(frames=16, queue=24, momentum=0.8, symmetric=True)),
    "dino": Tiny(dino.Config(head=_HEAD, **_CROPS)),
    "dino sinkhorn": Tiny(
        dino.Config(head=_HEAD, targets=TargetConfig("sinkhorn"), teacher_temperature=(0.05, 0.05), **_CROPS)
    ),
    "rdino": Tiny(rdino.Config(head=DinoHeadConfig(hidden=24, bottleneck=12, out=16, wide=10), **_CROPS)),
    # KoLeo looks for neighbours among a rank's own rows; "gathered" looks among all.
    "sdpn": Tiny(sdpn.Config(**_SDPN), same_on_ranks=False),
    "sdpn gathered": Tiny(sdpn.Config(koleo_gather=True, dimension="fro", **_SDPN)),
    "sdpn frozen": Tiny(
        sdpn.Config(prototypes="frozen", koleo=0.0, dimension="off", dimension_on="embedding", **_SDPN)
    ),
    # The contrastive term sees a rank's own rows; without it the ranks agree with one process.
    "memo": Tiny(memo.Config(contrastive_base=1.0, stop=StopConfig(latest=0.67), **_MEMO), same_on_ranks=False),
    "memo gradient": Tiny(
        memo.Config(contrastive_base=1.0, stop=StopConfig("gradient", earliest=0, patience=1, every=2), **_MEMO),
        same_on_ranks=False,
    ),
    "memo distil": Tiny(memo.Config(contrastive_weight=0.0, **_MEMO)),
    "aam": Tiny(aam.Config(frames=16, scale=16.0), labels=True),
    "aamsupcon": Tiny(aamsupcon.Config(frames=16, scale=16.0, temperature=0.2), labels=True),
    "aamsupcon margin": Tiny(  # SupMarginCon, attention trained too
        aamsupcon.Config(
            frames=16,
            scale=16.0,
            temperature=0.2,
            margin_mode="num",
            attention=True,
            attention_scale=4.0,
            attention_gradient=True,
            balance=True,
        ),
        labels=True,
    ),
    "aamsupcon five": Tiny(
        aamsupcon.Config(
            frames=16, views=5, scale=16.0, temperature=0.2, margin_mode="am", aam_on="all", hidden=12, out=8
        ),
        labels=True,
    ),
    "lgl": Tiny(lgl.Config(frames=16, scale=16.0, gate="rate", ungated_epochs=1, rates=(0.7,)), labels=True),
    "lgl threshold": Tiny(lgl.Config(frames=16, scale=16.0, ungated_epochs=0, thresholds=(7.0,)), labels=True),
    "lgl gmm": Tiny(lgl.Config(frames=16, scale=16.0, gate="gmm", ungated_epochs=1, mixture=_ANY_FIT), labels=True),
    "dlg_lc": Tiny(
        dlg_lc.Config(frames=16, scale=16.0, ungated_epochs=1, uncorrected_epochs=2, temperature=0.1, mixture=_ANY_FIT),
        labels=True,
    ),
    # Its first centroids are random: votes come late. The others vote after every epoch.
    "ssrl": Tiny(ssrl.Config(**{**_SSRL, "fixed_epochs": 8}), labels=True),
    "ssrl released": Tiny(
        ssrl.Config(**_SSRL, faithful=True, ema=(0.5, 0.8), queue=1, tie="oldest", head="linear", dropout=0.0),
        labels=True,
    ),
    "ssrl sinkhorn": Tiny(ssrl.Config(**_SSRL, relabel="sinkhorn"), labels=True),
}  # "method" or "method variant"


def speakers() -> NDArray[np.int64]:
    """(N,) true speakers, in the order of the utterances."""
    return np.arange(UTTS) % SPEAKERS


class Store:
    """Log-mels in memory. A speaker is the bands that move together, not their mean, which the front-end removes."""

    mode = "feats"

    def __init__(self) -> None:
        axes = np.linalg.qr(rng.numpy(0, "toy").standard_normal((MELS, MELS)))[0]  # (F, F)
        own, others = axes[:SPEAKERS], axes[SPEAKERS:]
        made = []
        for row, speaker in enumerate(speakers()):
            draws = rng.numpy(0, "toy", row)
            moves = np.convolve(draws.standard_normal(FRAMES + 4), np.ones(5), "valid")  # (T,)
            # What is said: bands that move together too, and others every ten frames.
            gains = np.repeat(np.exp(draws.standard_normal((FRAMES // 10, len(others)))), 10, 0)  # (T, others)
            said = gains * draws.standard_normal((FRAMES, len(others))) @ others  # (T, F)
            made.append(0.9 * moves[:, None] * own[speaker] + 0.7 * said + 0.5 * draws.standard_normal((FRAMES, MELS)))
        self.mels = np.stack(made).astype(np.float32)  # (N, T, F)
        self.num_frames = np.full(UTTS, FRAMES)

    def __len__(self) -> int:
        return UTTS

    def empty(self, count: int, frames: int) -> NDArray[np.float32]:
        return np.empty((count, frames, MELS), np.float32)

    def crop(self, out: NDArray[np.float32], row: int, start: int, repeat: bool = True) -> None:
        out[:] = self.mels[row, start : start + len(out)]


def names() -> list[str]:
    return [f"utt{row:02}" for row in range(UTTS)]


def make_encoder(config: Any | None = None) -> Embedder:
    config = config or EcapaConfig(
        channels=16, aggregation=24, embed_dim=12, se_channels=8, attention_channels=8, scale=2, dilations=(1, 1, 2, 2)
    )
    return make_embedder(config, FrontendConfig(FbankConfig(num_mel_bins=MELS)))


def tiny(case: str) -> Tiny:
    assert case in TINY, f"method {case} has no entry in TINY of {Path(__file__).name}"
    return TINY[case]


def make(case: str, seed: int = 0) -> Method:
    """The tiny method, with the weights of this seed."""
    labels = speakers() if tiny(case).labels else None
    centroids = rng.numpy(0, "centroids").standard_normal((SPEAKERS, 12)).astype(np.float32)
    facts = Facts(UTTS, seed, SPEAKERS if tiny(case).labels else 0, labels, centroids if tiny(case).labels else None)
    rng.seed_torch(seed, "init")
    return make_method(tiny(case).config, make_encoder, facts)


def make_loader(method: Method, *, labels: bool, batch: int = BATCH, accumulate: int = 1) -> Loader:
    utterances = Utterances(names(), Store(), speakers() if labels else None)
    share = {"rank": dist.rank(), "world": dist.world_size()}
    return Loader(utterances, method.views, None, batch, seed=0, accumulate=accumulate, **share)


def loop(case: str, **changes: Any) -> LoopConfig:
    """Three epochs of three steps."""
    optim = OptimConfig("adamw", lr=tiny(case).lr, schedule=ScheduleConfig("constant"), clip="per_parameter")
    return LoopConfig(**{"epochs": 3, "batch_size": BATCH, "optim": optim, "log_every": 2, **changes})


def plain_loop(case: str) -> LoopConfig:
    """One epoch of plain gradient descent: Adam would make large steps of gradients that are zero but for rounding."""
    return loop(case, epochs=1, log_every=1, optim=OptimConfig(lr=0.05, schedule=ScheduleConfig("constant")))


def run(
    case: str, out: Path, config: LoopConfig | None = None, *, wrap: Any = None, method: Method | None = None
) -> Method:
    """Train a fresh tiny method through the loop; `wrap` may put something around the loader."""
    method = method or make(case)
    config = config or loop(case)
    loader = make_loader(method, labels=tiny(case).labels, batch=config.batch_size, accumulate=config.accumulate)
    train(
        method, wrap(loader) if wrap else loader, config,
        seed=0, out=out, device="cpu", config_hash="toy", names=names(), say=lambda text: None,
    )  # fmt: skip
    return method


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it runs."""


class Dying:
    """A loader whose process dies when this step is about to begin."""

    def __init__(self, loader: Loader, step: int) -> None:
        self.loader, self.step, self.steps_per_epoch = loader, step, loader.steps_per_epoch

    def epoch(self, epoch: int, first_step: int = 0, device: str = "cpu"):
        for i, micros in enumerate(self.loader.epoch(epoch, first_step, device), first_step):
            if epoch * self.steps_per_epoch + i == self.step:
                raise Killed
            yield micros


@torch.no_grad()
def separation(method: nn.Module) -> float:
    """Mean cosine of utterances of one speaker minus that of different speakers, mean removed."""
    embedder = method.embedder()
    training = embedder.training
    vectors = embedder.eval()(torch.from_numpy(Store().mels))  # (N, D)
    embedder.train(training)
    vectors = F.normalize(vectors - vectors.mean(dim=0), dim=1)
    same = torch.from_numpy(speakers()[:, None] == speakers())
    own = torch.eye(UTTS, dtype=torch.bool)
    cosine: Tensor = vectors @ vectors.T
    return float(cosine[same & ~own].mean() - cosine[~same].mean())


def without_timing(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("utts_per_second", "data_wait")} for row in rows]


def cases() -> list[str]:
    """Every method of the table, and the variants TINY has of some."""
    return [*METHODS, *(case for case in TINY if case not in METHODS)]
