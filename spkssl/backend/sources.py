"""Which files are scored and which are learned from. Imports nothing heavy: stages use it to see what is up to date."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrialSet:
    """Embeddings and the lists of trials over them."""

    name: str
    scp: Path
    lists: tuple[Path, ...]  # an enrolment map lies beside a list as <list>.enroll
    durations: Path | None = None  # utt2dur, for the quality measure
    speakers: Path | None = None  # utt2spk, for confidence intervals


@dataclass(frozen=True)
class Sources:
    sets: tuple[TrialSet, ...]
    train: Path | None = None  # scp of the embeddings that back-ends are fitted on
    labels: Path | None = None  # utt2cluster of those
    mean: Path | None = None  # scp whose mean is subtracted instead of the training embeddings'
    adapt: Path | None = None  # scp of unlabelled embeddings that PLDA is adapted to
    kaldi: Path | None = None  # folder with Kaldi's mean.vec, transform.mat and plda, instead of training PLDA

    def files(self) -> Iterator[Path]:
        """Everything that is read, the archives next to the scp files included."""
        for scp in (*(each.scp for each in self.sets), self.train, self.mean, self.adapt):
            if scp is not None:
                yield scp
                yield from (path for path in [scp.with_suffix(".ark")] if path.exists())
        for each in self.sets:
            enrolments = [enrolment_of(path) for path in each.lists]
            tables = [path for path in (each.durations, each.speakers) if path is not None]
            yield from (*each.lists, *(path for path in enrolments if path.exists()), *tables)
        if self.labels is not None:
            yield self.labels
        if self.kaldi is not None:
            models = [self.kaldi / name for name in ("mean.vec", "transform.mat", "plda")]
            yield from (path for path in models if path.exists())


def enrolment_of(trials: Path) -> Path:
    """The enrolment map of a list, which need not exist."""
    return trials.with_name(f"{trials.name}.enroll")
