"""Batches: batch s of epoch e is a pure function of (seed, e, s), so a run resumes by asking for the next one.

Crops are cut on the CPU (in worker processes if wanted), augmentation is applied to the whole batch on the training
device. Nothing is normalised here: that is the encoder's front-end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from spkssl import rng
from spkssl.audio.augment.augmenter import Augmenter
from spkssl.audio.augment.bank import NoiseBank, RirBank
from spkssl.audio.augment.config import AugmentConfig
from spkssl.audio.augment.material import Material
from spkssl.audio.fbank import FbankConfig
from spkssl.contract import Batch, ViewSpec
from spkssl.data.dataset import Utterances
from spkssl.data.samplers import Sampler, SamplerConfig
from spkssl.data.views import Short, crop_starts, groups_of, keys
from spkssl.errors import complain, some

Augment = AugmentConfig | Mapping[str, AugmentConfig] | None


class Draft(NamedTuple):
    """A batch before augmentation, on the CPU."""

    views: dict[str, Tensor]  # name -> (B, n, T, F) or (B, n, samples)
    materials: dict[str, Material]  # for the augmented kinds; row b * n + i is view i of utterance b
    index: Tensor  # (B,)
    label: Tensor | None


class Loader:
    """Batches of one rank. The global batch is split over ranks contiguously, a rank's part over micro-batches too."""

    def __init__(
        self,
        utterances: Utterances,
        views: Sequence[ViewSpec],
        augment: Augment,
        batch_size: int,
        *,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        seed: int = 0,
        noises: NoiseBank | None = None,
        rirs: RirBank | None = None,
        fbank: FbankConfig | None = None,
        sampler: SamplerConfig | None = None,
        drop_last: bool = True,
        short: Short = "repeat",
        workers: int = 0,
    ) -> None:
        """`batch_size` is global. `augment` may differ by kind of view; kinds it does not name stay clean.

        `fbank`: what made the features, or what will be made of the audio. `workers`: processes; 0 is best for a
        set in memory on a CPU.
        """
        if batch_size % (world * accumulate):
            what = f"{batch_size} does not divide by {world} ranks times {accumulate} micro-batches"
            raise complain("batch_size", what, "choose a multiple")
        self.utterances, self.views = utterances, tuple(views)
        self._local, self._batch = batch_size // world, batch_size
        self._rank, self._accumulate, self._seed = rank, accumulate, seed
        self._short, self._workers = short, workers
        self._groups = groups_of(self.views)
        labels, num_frames = utterances.labels, utterances.num_frames
        self._sampler = Sampler(sampler or SamplerConfig(), num_frames, labels, batch_size, seed, drop_last)
        self._augmenters = _augmenters(self.views, augment, utterances.mode, noises, rirs, fbank)

    @property
    def steps_per_epoch(self) -> int:
        return self._sampler.steps

    def epoch(self, epoch: int, first_step: int = 0, device: str | torch.device = "cpu") -> Iterator[list[Batch]]:
        """The micro-batches of each step of an epoch, from `first_step` on, on the device."""
        steps = _Steps(self, epoch, first_step)
        if self._workers == 0:
            for step in range(len(steps)):
                yield self.finish(steps[step], device)
            return
        drafts = DataLoader(
            steps,
            batch_size=None,
            num_workers=self._workers,
            collate_fn=_same,
            pin_memory=torch.device(device).type == "cuda",
            generator=rng.torch_generator(self._seed, "workers"),  # else the global stream would be drawn from
        )
        for draft in drafts:
            yield self.finish(draft, device)

    def draft(self, epoch: int, rows: np.ndarray, again: np.ndarray) -> Draft:
        """Crops and augmentation material of these utterances."""
        store, lengths = self.utterances.store, self.utterances.num_frames[rows]
        names = keys(epoch, rows, again)
        starts: dict[str, np.ndarray] = {}
        views, materials = {}, {}
        for view in self.views:
            group = self._groups[view.name]
            if group.name not in starts:
                starts[group.name] = crop_starts(group, lengths, rows, again, self._seed, epoch, self._short)
            out = store.empty(len(rows) * view.count, view.frames)
            for place, (row, begins) in enumerate(zip(rows.tolist(), starts[group.name].tolist())):
                for i in range(view.count):
                    crop = out[place * view.count + i]
                    store.crop(crop, row, begins[view.crop_of(i)], self._short == "repeat")
            views[view.name] = torch.from_numpy(out.reshape(len(rows), view.count, *out.shape[1:]))
            if view.name in self._augmenters:
                materials[view.name] = self._material(view, names)
        labels = self.utterances.labels
        label = None if labels is None else torch.from_numpy(labels[rows])
        return Draft(views, materials, torch.from_numpy(rows.astype(np.int64)), label)

    def finish(self, draft: Draft, device: str | torch.device = "cpu") -> list[Batch]:
        """Augment on the device and cut into micro-batches."""
        views = {}
        with torch.no_grad():
            for name, crops in draft.views.items():
                crops = crops.to(device, non_blocking=True)  # (B, n, T, F)
                if name in draft.materials:
                    flat = self._augmenters[name](crops.flatten(0, 1), draft.materials[name].to(device))
                    crops = flat.view(crops.shape)
                views[name] = crops
        index = draft.index.to(device, non_blocking=True)
        label = None if draft.label is None else draft.label.to(device, non_blocking=True)
        return split(Batch(views, index, label), self._accumulate)

    def _material(self, view: ViewSpec, names: Sequence[tuple[int, ...]]) -> Material:
        augmenter = self._augmenters[view.name]
        profiles = 1 + max(view.profile_of(i) for i in range(view.count))
        drawn = [augmenter.planner.uniforms(rng.numpy(self._seed, "aug", *name, view.name), profiles) for name in names]
        plans = augmenter.plan(np.concatenate(drawn))  # row b * profiles + p
        row = np.arange(len(names))[:, None] * profiles + [view.profile_of(i) for i in range(view.count)]
        crop = np.tile([view.crop_of(i) for i in range(view.count)], len(names))
        return augmenter.gather(plans.rows(row.reshape(-1), crop), view.frames)


class _Steps(Dataset):
    """The drafts of an epoch, one per step."""

    def __init__(self, loader: Loader, epoch: int, first_step: int) -> None:
        self._loader, self._epoch, self._first = loader, epoch, first_step
        self._order, self._again = loader._sampler.order(epoch)

    def __len__(self) -> int:
        return max(0, self._loader.steps_per_epoch - self._first)

    def __getitem__(self, item: int) -> Draft:
        begin = (self._first + item) * self._loader._batch + self._loader._rank * self._loader._local
        mine = slice(begin, begin + self._loader._local)
        return self._loader.draft(self._epoch, self._order[mine], self._again[mine])


def split(batch: Batch, parts: int) -> list[Batch]:
    """Contiguous micro-batches of equal size."""
    size = len(batch.index) // parts
    pieces = [slice(k * size, (k + 1) * size) for k in range(parts)]
    labels = [None if batch.label is None else batch.label[piece] for piece in pieces]
    return [
        Batch({name: view[piece] for name, view in batch.views.items()}, batch.index[piece], label)
        for piece, label in zip(pieces, labels, strict=True)
    ]


def _augmenters(
    views: Sequence[ViewSpec],
    augment: Augment,
    mode: str,
    noises: NoiseBank | None,
    rirs: RirBank | None,
    fbank: FbankConfig | None,
) -> dict[str, Augmenter]:
    if augment is None:
        return {}
    augmented = [view.name for view in views if view.augment]
    by_view = augment if isinstance(augment, Mapping) else dict.fromkeys(augmented, augment)
    unknown = sorted(set(by_view) - set(augmented))
    if unknown:
        what = f"no such kind of view: {some(unknown)} (there are: {', '.join(augmented) or 'none'})"
        raise complain("augment", what, "name one of them")
    made = {config: Augmenter(config, mode, noises, rirs, fbank) for config in dict.fromkeys(by_view.values())}
    return {view.name: made[by_view[view.name]] for view in views if view.name in by_view}


def _same(draft: Draft) -> Draft:
    return draft
