"""The door to faiss: nearest centres and nearest neighbours, with no more threads than the process may use."""

from __future__ import annotations

import os
from functools import cache
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Metric = Literal["cosine", "euclidean", "inner_product"]

_EXACT = 200_000  # rows up to which neighbours are exact; at a million that would take an hour of 8 cores
_LISTS_VISITED = 1 / 32  # of an inverted file, beyond that; finds about 95 % of the neighbours of speaker embeddings


@cache
def faiss() -> ModuleType:
    """faiss, its threads held to OMP_NUM_THREADS or the cores of this process.

    Only ever lowered: the setting may be shared with torch, and more threads than cores cost a factor of 4 to 7.
    """
    import faiss as module

    allowed = thread_limit()
    if module.omp_get_max_threads() > allowed:
        module.omp_set_num_threads(allowed)
    return module


def thread_limit() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # OpenMP allows a list, one per level
    return min(int(wanted), cores) if wanted.isdigit() and int(wanted) else cores


def nearest(x: NDArray[np.float32], centres: NDArray[np.float32], metric: Metric) -> tuple[NDArray, NDArray]:
    """(N,) number of the nearest centre and (N,) its cost: 1 - cosine of unit vectors, squared distance, or - x c."""
    library, dim = faiss(), x.shape[1]
    index = library.IndexFlatL2(dim) if metric == "euclidean" else library.IndexFlatIP(dim)
    index.add(np.ascontiguousarray(centres))
    value, label = (column[:, 0] for column in index.search(x, 1))
    if metric == "euclidean":
        return label, value
    return label, (1 - value if metric == "cosine" else -value)


def neighbours(x: NDArray[np.float32], count: int) -> tuple[NDArray, NDArray]:
    """(N, count) nearest other rows by inner product and (N, count) those products, best first.

    Exact up to 200,000 rows; from an inverted file of about 4 sqrt(N) lists beyond, where -1 marks a missing one.
    """
    library, (rows, dim) = faiss(), x.shape
    count = min(count, rows - 1)
    index = library.IndexFlatIP(dim)
    if rows > _EXACT:
        lists = int(4 * rows**0.5)
        index = library.IndexIVFFlat(index, dim, lists, library.METRIC_INNER_PRODUCT)
        index.nprobe = max(1, round(lists * _LISTS_VISITED))
        index.cp.min_points_per_centroid = 1
        index.train(x[:: max(1, rows // (64 * lists))].copy())
    index.add(x)
    value, label = index.search(x, count + 1)
    # The row itself is dropped; among duplicates it may not be the first, nor be found at all.
    itself = label == np.arange(rows)[:, None]
    itself[~itself.any(axis=1), -1] = True
    return label[~itself].reshape(rows, count), value[~itself].reshape(rows, count)
