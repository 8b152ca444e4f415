"""What the parts promise each other. No behaviour beyond reading a value.

Sizes, everywhere in the project: B batch, n crops of one kind, V views, T frames, F mels, D embedding, K classes
or prototypes, N utterances, Q queue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

SAMPLE_RATE = 16000
FRAME_SHIFT = 160  # samples: 10 ms
FRAME_LENGTH = 400  # samples: 25 ms


def samples_of(frames: int) -> int:
    """Samples from which Kaldi's fbank (snip-edges) makes exactly this many frames."""
    return (frames - 1) * FRAME_SHIFT + FRAME_LENGTH


@dataclass(frozen=True)
class ViewSpec:
    """One kind of view of an utterance: `count` crops of `frames` frames each.

    Which crop and which augmentation each of them gets is said by number: views with the same number share it, so
    `crops=(0, 1, 1), profiles=(0, 0, 1)` is the triple of augmentation-adversarial training. Kinds of one `group`
    share crop number c's place (a short view starts where the long one does).
    """

    name: str
    frames: int
    count: int = 1
    augment: bool = True
    disjoint: bool = False  # crops do not overlap in time where the utterance is long enough
    crops: tuple[int, ...] = ()  # () = 0, 1, ..., count - 1
    profiles: tuple[int, ...] = ()  # () = 0, 1, ..., count - 1
    group: str = ""  # "" = the name

    def crop_of(self, i: int) -> int:
        return self.crops[i] if self.crops else i

    def profile_of(self, i: int) -> int:
        return self.profiles[i] if self.profiles else i


class Batch(NamedTuple):
    views: dict[str, Tensor]  # name -> (B, n, samples) or (B, n, T, F), by the input mode
    index: Tensor  # (B,) row in the sorted utterance list: the key of every per-utterance buffer
    label: Tensor | None  # (B,) only where the config names a label file


class Step(NamedTuple):  # a pytree, so DDP can walk it
    loss: Tensor  # () differentiable
    scalars: dict[str, Tensor]  # detached; logged, averaged over ranks
    records: dict[str, Tensor]  # detached, first axis B; gathered over ranks, handed to end_epoch


@dataclass(frozen=True)
class Progress:
    """Where training stands; every schedule is a pure function of it."""

    step: int  # optimiser steps done before this one
    steps_per_epoch: int
    epochs: int

    @property
    def epoch(self) -> int:
        return self.step // self.steps_per_epoch

    @property
    def total(self) -> int:
        return self.steps_per_epoch * self.epochs

    @property
    def fraction(self) -> float:
        """0 at the first step, 1 after the last."""
        return self.step / max(1, self.total)


@dataclass(frozen=True)
class Facts:
    """What a method must know of the data: counted from files, never typed into a config."""

    num_utts: int
    seed: int
    num_classes: int = 0
    labels: NDArray[np.int64] | None = None  # (N,)
    centroids: NDArray[np.float32] | None = None  # (K, D)
    round: int = 0  # of retraining, from 1; 0: pretraining, or labels the user gave


class MakeEncoder(Protocol):
    """Builds a fresh encoder: audio or features in, (B, D) embeddings out; it has `embed_dim`."""

    def __call__(self, config: Any | None = None) -> nn.Module: ...


class Method(Protocol):
    """An nn.Module, made by `(config, make_encoder, facts)`; everything that changes is a Parameter or a buffer."""

    views: tuple[ViewSpec, ...]

    def forward(self, batch: Batch, t: Progress) -> Step: ...
    def param_groups(self) -> list[dict[str, Any]]: ...  # params, lr_scale, decay: bool, clip: bool
    def after_backward(self, t: Progress) -> None: ...  # freeze or rescale gradients
    def after_step(self, t: Progress) -> None: ...  # moving averages
    def end_epoch(self, records: dict[str, Tensor], t: Progress) -> None: ...  # labels, gates, stop flags
    def per_utterance(self) -> dict[str, Tensor]: ...  # (N,) each, kept beside the encoder for the report; or {}
    def embedder(self) -> nn.Module: ...  # what export saves


class Clusterer(Protocol):
    """Keyword-only constructor that only stores."""

    def fit_predict(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
        """(N, D) -> (N,) labels 0..K-1, -1 = left out."""


class Backend(Protocol):
    def fit(self, x: NDArray[np.float32], labels: NDArray[np.int64] | None) -> Backend: ...
    def score(self, enrol: NDArray[np.float32], test: NDArray[np.float32]) -> NDArray[np.float64]:
        """(P, D), (P, D) -> (P,); higher = same speaker."""

    def save(self, path: str) -> None: ...  # npz, no pickle


Registry = dict[str, tuple[type, Callable[..., Any]]]  # name -> (Config, constructor)
