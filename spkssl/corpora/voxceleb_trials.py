"""Trials of VoxCeleb: the published lists in Kaldi's form, and one for every choice from VoxCeleb2's test part.

Nothing may be chosen on a published list: what is reported on it would be too good.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spkssl.corpora.voxceleb_layout import LISTS, Count, Utt, check_count
from spkssl.errors import InputError, complain, some
from spkssl.io.trials import Trials, read_trials

PER_SPEAKER = 170  # target trials: 118 speakers give 20,060, about as many as Vox1-O has


def read_list(folder: Path, name: str, expected: Mapping[str, Count]) -> Trials:
    """A published list, its names as utterance ids."""
    path = folder / LISTS[name]
    if not path.is_file():
        do = f"fetch it from the authors' site, or leave {name} out of --trials"
        raise complain(path, f"no such file (the list {name})", do)
    trials = read_trials(path)
    if trials.target is None:
        raise complain(path, "has no labels (expected `1 id/video/segment.wav id/video/segment.wav`)")
    check_count(path, name, Count(int(trials.target.sum()), len(trials)), expected)
    try:
        enrol, test = ([Utt.of_path(text).name for text in side] for side in (trials.enrol_names, trials.test_names))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return replace(trials, enrol_names=enrol, test_names=test)


def require_known(folder: Path, lists: Mapping[str, Trials], known: Collection[str]) -> list[str]:
    """The utterances that the lists name, sorted; an InputError unless all of them are there."""
    wanted: set[str] = set()
    for name, trials in lists.items():
        names = {*trials.enrol_names, *trials.test_names}
        lacking = sorted(names.difference(known))
        if lacking:
            what = f"{len(lacking)} of the {len(names)} recordings it names are not in VoxCeleb1: {some(lacking)}"
            raise complain(folder / LISTS[name], what, "unpack both parts of VoxCeleb1")
        wanted |= names
    return sorted(wanted)


def draw_trials(utts: Sequence[Utt], rng: np.random.Generator, per_speaker: int = PER_SPEAKER) -> Trials:
    """As many target trials of each speaker, of different videos, and as many non-target trials with each enrolled.

    A speaker with fewer pairs than `per_speaker` gives all there are. Sorted; no pair appears twice.
    """
    utts = sorted(utts)
    speaker = np.unique([utt.speaker for utt in utts], return_inverse=True)[1]
    video = np.unique([f"{utt.speaker}/{utt.video}" for utt in utts], return_inverse=True)[1]
    if speaker.max(initial=0) < 1:
        raise complain("trials", f"need two speakers at least (got {len(set(speaker.tolist()))})")
    targets, others = [], []
    for who in range(speaker.max() + 1):
        mine = np.flatnonzero(speaker == who)
        a, b = np.triu_indices(len(mine), 1)
        apart = np.flatnonzero(video[mine[a]] != video[mine[b]])
        chosen = rng.choice(apart, min(per_speaker, len(apart)), replace=False)
        targets.append(np.stack([mine[a[chosen]], mine[b[chosen]]], axis=1))
        others.append(_non_targets(mine, np.flatnonzero(speaker != who), len(chosen), rng))
    rows = np.concatenate([*targets, *others]).astype(np.int32)  # (N, 2)
    target = np.arange(len(rows)) < sum(map(len, targets))
    if not target.any():
        raise complain("trials", "no speaker has two videos")
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    names = [utt.name for utt in utts]
    return Trials(names, names, rows[order, 0], rows[order, 1], target[order])


def _non_targets(mine: NDArray, theirs: NDArray, count: int, rng: np.random.Generator) -> NDArray:
    """(count, 2) different pairs of one of mine and one of theirs."""
    code = rng.choice(len(mine) * len(theirs), min(count, len(mine) * len(theirs)), replace=False)
    return np.stack([mine[code // len(theirs)], theirs[code % len(theirs)]], axis=1)
