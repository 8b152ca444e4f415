"""Embeddings of whole utterances. A batch holds utterances of one length, so batching changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spkssl.audio.read import read
from spkssl.contract import samples_of
from spkssl.errors import complain
from spkssl.io.ark import Reader


class Utterance(NamedTuple):
    name: str
    location: str  # of its log-mels, or of its recording
    frames: int
    begin: int | None = None  # the sample of the recording where it begins; None: it is log-mels


class Embed(Protocol):
    """Log-mels (B, T, F) or waves (B, samples) of one length -> (B, D)."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor: ...


def batches(utterances: Sequence[Utterance], max_frames: int) -> list[list[Utterance]]:
    """Groups of one length, none beyond `max_frames` frames in total unless a single utterance is.

    They depend on the whole list alone: however the work is shared out, an utterance meets the same companions, and
    its embedding is the same to the last bit.
    """
    groups: list[list[Utterance]] = []
    for utterance in sorted(utterances, key=lambda u: (u.frames, u.name)):
        group = groups[-1] if groups else []
        if group and group[0].frames == utterance.frames and (len(group) + 1) * utterance.frames <= max_frames:
            group.append(utterance)
        else:
            groups.append([utterance])
    return groups


@torch.no_grad()
def embed(work: Sequence[Sequence[Utterance]], model: Embed, device: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """(utterance, embedding) of every utterance of these batches; not-finite ones are an InputError."""
    reader = Reader()
    for group in work:
        inputs = np.stack([_read(reader, utterance) for utterance in group])  # (B, T, F) or (B, samples)
        vectors = model(torch.from_numpy(inputs).to(device)).float().cpu().numpy()  # (B, D)
        for utterance, vector in zip(group, vectors, strict=True):
            if not np.isfinite(vector).all():
                what = f"the embedding of {utterance.name} is not finite"
                raise complain(utterance.location, what, "check its features")
            yield utterance.name, vector


def _read(reader: Reader, utterance: Utterance) -> NDArray[np.float32]:
    if utterance.begin is None:
        return reader.read(utterance.location).astype(np.float32, copy=False)
    # As many samples as its frames stand for: recordings of a group may differ by less than a frame.
    return read(utterance.location, utterance.begin, samples_of(utterance.frames))


def mean_and_std(mels: torch.Tensor) -> torch.Tensor:
    """The baseline that needs no network: mean and deviation of each band over time, (B, T, F) -> (B, 2F)."""
    return torch.cat([mels.mean(dim=1), mels.std(dim=1, correction=0)], dim=1)


class Eval:
    """A network in evaluation mode; utterances shorter than it can take are repeated until they suffice."""

    def __init__(self, embedder: nn.Module, device: str) -> None:
        self.embedder = embedder.to(device).eval()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        least = self.embedder.min_frames if x.ndim == 3 else samples_of(self.embedder.min_frames)
        if x.shape[1] < least:
            x = torch.cat([x] * -(-least // x.shape[1]), dim=1)[:, :least]
        return self.embedder(x)
