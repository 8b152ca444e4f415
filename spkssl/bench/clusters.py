"""Cases of clustering: the same iterations over the same vectors by us, scikit-learn and faiss itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spkssl import rng
from spkssl.bench.case import Case, Facts, Work, sized

_VECTORS, _DIM, _SPEAKERS, _CLUSTERS = 200_000, 192, 1_500, 2_000
_ITERATIONS = 20


def _write_vectors(folder: Path, small: bool) -> None:
    stream, count = rng.numpy(0, "bench", "kmeans"), sized(_VECTORS, small)
    centres = stream.standard_normal((sized(_SPEAKERS, small), _DIM), np.float32)
    x = stream.standard_normal((count, _DIM), np.float32)
    x += centres[stream.integers(len(centres), size=count)]
    np.save(folder / "vectors.npy", x)


def _kmeans(folder: Path, small: bool) -> Work:
    from spkssl.cluster import kmeans

    x, clusters = np.load(folder / "vectors.npy"), sized(_CLUSTERS, small)
    # A negative tolerance never stops early: everybody does the same number of iterations.
    config = kmeans.Config(metric="euclidean", init="random", restarts=1, iterations=_ITERATIONS, tolerance=-1.0)

    def call() -> Facts:
        fit = kmeans.best_of(x, clusters, config, rng.numpy(0, "bench", "kmeans start"))
        return {"mean_square_error": _error(x, fit.centres, fit.labels)}

    return Work(call, _ITERATIONS, "iterations", parts=_ITERATIONS)


def _sklearn(folder: Path, small: bool) -> Work:
    from sklearn.cluster import KMeans

    x, clusters = np.load(folder / "vectors.npy"), sized(_CLUSTERS, small)

    def call() -> Facts:
        # A random start, as ours, and no stop before the centres stand still.
        found = KMeans(clusters, init="random", n_init=1, max_iter=_ITERATIONS, tol=0.0, random_state=0).fit(x)
        return {"mean_square_error": float(found.inertia_) / len(x), "iterations": int(found.n_iter_)}

    return Work(call, _ITERATIONS, "iterations", parts=_ITERATIONS)


def _faiss(folder: Path, small: bool) -> Work:
    import faiss

    x, clusters = np.load(folder / "vectors.npy"), sized(_CLUSTERS, small)

    def call() -> Facts:
        found = faiss.Kmeans(_DIM, clusters, niter=_ITERATIONS, seed=0, max_points_per_centroid=len(x))
        found.train(x)
        _, labels = found.index.search(x, 1)  # training ends with centres, not with labels
        return {"mean_square_error": _error(x, found.centroids, labels[:, 0])}

    return Work(call, _ITERATIONS, "iterations", parts=_ITERATIONS)


def _error(x: np.ndarray, centres: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared distance to the centre, by blocks of rows."""
    total = 0.0
    for start in range(0, len(x), 1 << 14):
        part = slice(start, start + (1 << 14))
        total += float(np.square(x[part] - centres[labels[part]]).sum(dtype=np.float64))
    return total / len(x)


CASES = {
    "kmeans": Case(
        "k-means of 200,000 x 192 into 2,000, one of 20 iterations",
        _kmeans,
        _write_vectors,
        peers={"sklearn.KMeans": _sklearn, "faiss.Kmeans": _faiss},
    ),
}
