"""In which order an epoch visits the utterances: a pure function of (seed, epoch), for all ranks at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spkssl import rng
from spkssl.errors import complain


@dataclass(frozen=True)
class SamplerConfig:
    """The filters say which utterances an epoch may visit; labels of -1 are always left out."""

    name: Literal["random", "pk"] = "random"  # pk: batches of P classes with utts_per_class utterances each
    utts_per_class: int = 4
    max_per_class: int = 0  # utterances of a class in an epoch, drawn anew each time (DLG-LC: 500); 0: all
    min_per_class: int = 0  # smaller classes are left out
    min_frames: int = 0  # shorter utterances are left out (wespeaker: 100)

    def __post_init__(self) -> None:
        if self.utts_per_class < 1 or min(self.max_per_class, self.min_per_class, self.min_frames) < 0:
            raise ValueError("utts_per_class must be at least 1, and no limit negative")


class Sampler:
    """Global batches of an epoch."""

    def __init__(
        self,
        config: SamplerConfig,
        num_frames: NDArray[np.int64],
        labels: NDArray[np.int64] | None,
        batch_size: int,
        seed: int,
        drop_last: bool = True,
    ) -> None:
        self._config, self._labels, self._batch, self._seed, self._drop = config, labels, batch_size, seed, drop_last
        self.rows = _eligible(config, num_frames, labels)
        visits = len(self.rows)
        if labels is not None and config.max_per_class:
            visits = int(np.minimum(np.bincount(labels[self.rows]), config.max_per_class).sum())
        self.steps = visits // batch_size if drop_last else -(-visits // batch_size)
        if self.steps == 0:
            what = f"{visits} utterances do not fill one batch of {batch_size}"
            do = "use a smaller one, e.g. --set pretrain.loop.batch_size=32 (stage 6: retrain.loop.batch_size)"
            raise complain("batches", what, f"{do}, or other limits in the sampler")
        if config.name == "pk":
            self._check_pk()

    def order(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(steps * batch_size,) rows, and how often each row came before within this epoch.

        Without drop_last the last batch is completed from the beginning of the order.
        """
        shuffled = rng.numpy(self._seed, "order", epoch).permutation(self.rows)
        if self._labels is not None and self._config.max_per_class:
            shuffled = shuffled[_rank(self._labels[shuffled]) < self._config.max_per_class]
        if self._config.name == "pk":
            shuffled = self._balanced(shuffled, epoch)
        order = np.resize(shuffled, self.steps * self._batch)  # cuts, or repeats from the beginning
        return order, _rank(order)

    def _balanced(self, shuffled: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Class after class K utterances; a class comes again only when all have come, and never twice in a batch.

        A class's utterances follow one another through its visits; one that has too few begins again.
        """
        assert self._labels is not None
        take = self._config.utts_per_class
        classes_in_batch = self._batch // take
        labels = self._labels[shuffled]
        members = shuffled[np.argsort(labels, kind="stable")]
        classes, sizes = np.unique(labels, return_counts=True)
        first = np.cumsum(sizes) - sizes
        per_pass = len(classes) // classes_in_batch * classes_in_batch
        generator = rng.numpy(self._seed, "classes", epoch)
        passes = -(-self.steps * classes_in_batch // per_pass)
        visited = np.concatenate([generator.permutation(len(classes))[:per_pass] for _ in range(passes)])
        turn = _rank(visited)  # how often the class came before
        place = (turn[:, None] * take + np.arange(take)) % sizes[visited][:, None]
        return members[first[visited][:, None] + place].reshape(-1)

    def _check_pk(self) -> None:
        if self._labels is None:
            raise complain("sampler pk", "needs labels", "give a label file, or use sampler.name random")
        classes, take = len(np.unique(self._labels[self.rows])), self._config.utts_per_class
        if self._batch % take:
            raise complain("sampler pk", f"batch_size {self._batch} is no multiple of utts_per_class {take}")
        if classes < self._batch // take:
            what = f"a batch needs {self._batch // take} classes, there are {classes}"
            raise complain("sampler pk", what, "use a smaller batch_size or larger utts_per_class")


def _eligible(
    config: SamplerConfig, num_frames: NDArray[np.int64], labels: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    kept = num_frames >= max(1, config.min_frames)
    if labels is None:
        if config.max_per_class or config.min_per_class:
            raise complain("sampler", "limits per class need labels", "give a label file")
        return np.flatnonzero(kept)
    kept &= labels >= 0
    sizes = np.bincount(labels[kept], minlength=int(labels.max(initial=0)) + 1)
    kept[kept] = sizes[labels[kept]] >= config.min_per_class
    return np.flatnonzero(kept)


def _rank(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often the same value came before, for each place."""
    by_value = np.argsort(values, kind="stable")
    ordered = values[by_value]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.empty(0, np.int64)
    counts = np.diff(np.r_[begins, len(ordered)])
    rank = np.empty(len(values), np.int64)
    rank[by_value] = np.arange(len(values)) - np.repeat(begins, counts)
    return rank
