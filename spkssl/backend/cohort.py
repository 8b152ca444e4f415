"""The cohort of score normalisation, made without true labels, and the statistics of scores against it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spkssl.backend.vectors import as_labels
from spkssl.errors import complain, some

Kind = Literal["centres", "utterances"]
Deviation = Literal["population", "unbiased"]

STD_FLOOR = 1e-8
_BLOCK_BYTES = 64 << 20  # of scores against the cohort held at a time


class Statistics(NamedTuple):
    mean: NDArray[np.float64]  # (M,)
    std: NDArray[np.float64]  # (M,)
    top: NDArray[np.int32] | None  # (M, k) rows of the nearest cohort members, where they were asked for


def centres(x: NDArray[Any], labels: NDArray[np.int64] | None) -> NDArray[Any]:
    """Means of the raw vectors of each pseudo-speaker; label -1 = left out. (K, D) in label order."""
    labels = as_labels(labels, len(x), "cohort of centres")
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        raise complain("cohort of centres", "no embedding has a label (all are left out)")
    names, index, counts = np.unique(labels[rows], return_inverse=True, return_counts=True)
    members = csr_array((1 / counts[index], (index, rows)), shape=(len(names), len(x)))
    return (members @ x).astype(x.dtype)


def drawn(x: NDArray[Any], size: int, rng: np.random.Generator) -> NDArray[Any]:
    """`size` utterances drawn without replacement, in their order; all where there are no more than that."""
    return x if len(x) <= size else x[np.sort(rng.choice(len(x), size, replace=False))]


def require_disjoint(cohort: Collection[str], evaluated: Iterable[str], where: object) -> None:
    """An InputError where a cohort utterance (or speaker) is also evaluated."""
    cohort = set(cohort)
    both = sorted({name for name in evaluated if name in cohort})
    if both:
        raise complain(where, f"in the cohort and in the trials: {some(both)}", "take the cohort from other recordings")


def clip_top(top: int, size: int) -> int:
    """min(top, size), with a warning when it clips."""
    if top < 1:
        raise complain("AS-norm", f"top_k is {top} (expected 1 or more)")
    if top > size:
        warnings.warn(f"AS-norm: top_k {top} is clipped to the cohort of {size}", stacklevel=3)
    return min(top, size)


def statistics(
    unit: NDArray[Any],
    cohort: NDArray[Any],
    top: int | None = None,
    deviation: Deviation = "population",
    keep: bool = False,
) -> Statistics:
    """Mean and deviation of each row's `top` highest scores (all where None) against the (C, D) cohort."""
    k = len(cohort) if top is None else top
    mean, std = np.empty(len(unit)), np.empty(len(unit))
    nearest = np.empty((len(unit), k), np.int32) if keep else None
    block = max(1, _BLOCK_BYTES // (cohort.itemsize * len(cohort)))
    threads = _threads()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(unit), block):
            scores = unit[start : start + block] @ cohort.T  # (block, C)

            def reduce(part: slice, start: int = start, scores: NDArray[Any] = scores) -> None:
                rows = slice(start + part.start, start + part.stop)
                highest = scores[part]
                if nearest is not None:
                    nearest[rows] = np.argpartition(highest, len(cohort) - k, axis=1)[:, len(cohort) - k :]
                    highest = np.take_along_axis(highest, nearest[rows].astype(np.intp), axis=1)
                elif k < len(cohort):
                    highest.partition(len(cohort) - k, axis=1)  # in place: the block is ours
                    highest = highest[:, len(cohort) - k :]
                mean[rows], std[rows] = moments(highest, deviation)

            list(pool.map(reduce, _shares(len(scores), threads)))
    return Statistics(mean, floored(std), nearest)


def moments(scores: NDArray[Any], deviation: Deviation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of each row, in float64."""
    mean = scores.mean(axis=1, dtype=np.float64)
    offsets = scores - mean[:, None]
    k = scores.shape[1]
    freedom = k if deviation == "population" else max(k - 1, 1)
    return mean, np.sqrt(np.einsum("nk,nk->n", offsets, offsets) / freedom)


def floored(std: NDArray[np.float64]) -> NDArray[np.float64]:
    """Deviations of at least 1e-8, with a warning that counts the floored ones."""
    low = int((std < STD_FLOOR).sum())
    if low:
        warnings.warn(f"score normalisation: {low} of {len(std)} deviations floored at {STD_FLOOR}", stacklevel=3)
    return np.maximum(std, STD_FLOOR)


def _threads() -> int:
    """Sorting releases the interpreter's lock, so two threads halve it; OMP_NUM_THREADS=1 means one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(2, allowed, int(asked) if asked.isdigit() and int(asked) else 2)


def _shares(rows: int, parts: int) -> list[slice]:
    edges = np.linspace(0, rows, parts + 1).astype(int)
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if b > a]
