"""Many small clusters first, where an algorithm cannot take all utterances at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spkssl.cluster.kmeans import Config, best_of
from spkssl.cluster.labels import canonical
from spkssl.cluster.vectors import sums

_QUICK = Config(init="random", restarts=1, iterations=10, tolerance=0.01, metric="euclidean")  # as Hyperion's


class Micro(NamedTuple):
    centres: NDArray[np.float32]  # (M, D) plain means
    sizes: NDArray[np.int64]  # (M,)
    labels: NDArray[np.int64]  # (N,) which of them; `found[labels]` carries labels of centres over to the rows


def micro_clusters(x: NDArray[np.float32], number: int, rng: np.random.Generator, config: Config = _QUICK) -> Micro:
    """About `number` small clusters; each row by itself where there are no more rows."""
    if number >= len(x):
        return Micro(x, np.ones(len(x), np.int64), np.arange(len(x)))
    labels = canonical(best_of(x, number, config, rng).labels)
    sizes = np.bincount(labels)
    return Micro(sums(x, labels, len(sizes)) / sizes[:, None].astype(np.float32), sizes, labels)
