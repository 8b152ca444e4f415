"""Cases of back-ends: score normalisation, PLDA training and scoring."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from spkssl import rng
from spkssl.backend import asnorm, plda
from spkssl.backend.class_stats import ClassStats, stats_of, stats_of_blocks
from spkssl.backend.plda_em import train_plda
from spkssl.bench.case import Case, Facts, Target, Work, sized

_ITERATIONS = 10  # of EM in one call
_BLOCK = 1 << 14  # vectors read at a time


def _speakers(count: int, dim: int, classes: int, tag: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors around the centres of their classes, every class with about as many."""
    stream = rng.numpy(0, "bench", tag)
    centres = stream.standard_normal((classes, dim), np.float32)
    labels = np.arange(count) % classes
    x = stream.standard_normal((count, dim), np.float32)
    for start in range(0, count, _BLOCK):
        x[start : start + _BLOCK] += centres[labels[start : start + _BLOCK]]
    return x, labels


def _asnorm(folder: Path, small: bool) -> Work:
    count, trials, top = sized(145_000, small), sized(580_000, small), sized(300, small)
    x, _ = _speakers(count, 256, sized(6_000, small), "asnorm")
    cohort, _ = _speakers(sized(6_000, small), 256, sized(6_000, small), "cohort")
    stream = rng.numpy(0, "bench", "asnorm trials")
    enrol, test = (stream.integers(count, size=trials) for _ in range(2))
    backend = asnorm.AsNorm(asnorm.Config(top_k=top, cohort="utterances", num_utterances=len(cohort))).fit(cohort)

    def call() -> Facts:
        side = backend.project(x)  # each embedding meets the cohort once, whatever side it is on
        return {"mean_score": float(backend.pairs(side, side, enrol, test).mean())}

    return Work(call, trials, "trials")


def _plda_em(folder: Path, small: bool) -> Work:
    # The dimension stays: more vectors than dimensions are needed.
    x, labels = _speakers(sized(50_000, small), 192, sized(2_000, small), "plda")
    stats = stats_of(x, labels)
    return Work(lambda: _train(stats), _ITERATIONS, "iterations", parts=_ITERATIONS)


def _train(stats: ClassStats) -> Facts:
    _, objective = train_plda(stats, _ITERATIONS)
    return {"log_likelihood": objective[-1]}


def _stream_size(small: bool) -> tuple[int, int]:
    return sized(1_090_000, small), sized(7_500, small)


def _write_stream(folder: Path, small: bool) -> None:
    count, classes = _stream_size(small)
    stream = rng.numpy(0, "bench", "stream")
    centres = stream.standard_normal((classes, 192), np.float32)
    with open(folder / "vectors", "wb") as file:
        for start in range(0, count, _BLOCK):
            labels = np.arange(start, min(start + _BLOCK, count)) % classes
            file.write((stream.standard_normal((len(labels), 192), np.float32) + centres[labels]).tobytes())


def _vectors(file: IO[bytes], classes: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    row = 0
    while len(block := np.frombuffer(file.read(_BLOCK * 192 * 4), np.float32).reshape(-1, 192)):
        yield block, np.arange(row, row + len(block)) % classes
        row += len(block)


def _read_stream(folder: Path, classes: int) -> ClassStats:
    with open(folder / "vectors", "rb") as file:  # no memory map: its pages would count as memory in use
        return stats_of_blocks(_vectors(file, classes), classes)


def _plda_stream(folder: Path, small: bool) -> Work:
    count, classes = _stream_size(small)

    def call() -> Facts:
        return {"vectors": _read_stream(folder, classes).num_vectors}

    return Work(call, count, "vectors")


def _plda_stream_em(folder: Path, small: bool) -> Work:
    stats = _read_stream(folder, _stream_size(small)[1])
    return Work(lambda: _train(stats), _ITERATIONS, "iterations", parts=_ITERATIONS)


def _plda_score(folder: Path, small: bool) -> Work:
    x, labels = _speakers(sized(20_000, small, least=400), 192, sized(1_000, small), "plda score")
    backend = plda.Plda(plda.Config(transform="none", iterations=2)).fit(x, labels)
    heard, trials = x[: sized(5_000, small)], sized(100_000, small)
    stream = rng.numpy(0, "bench", "plda trials")
    enrol, test = (stream.integers(len(heard), size=trials) for _ in range(2))

    def call() -> Facts:
        side = backend.project(heard)
        return {"mean_score": float(backend.pairs(side, side, enrol, test).mean())}

    return Work(call, trials, "trials")


CASES = {
    "asnorm": Case(
        "AS-norm of 580,000 trials: 145,000 x 256, cohort 6,000, top 300",
        _asnorm,
        target=Target(seconds=20, peak_mb=1500),
        elsewhere={"sslsv": 34, "wespeaker": 47},
    ),
    "plda_em": Case(
        "PLDA training, one EM iteration: 50,000 x 192, 2,000 classes",
        _plda_em,
        target=Target(seconds=0.5),
        elsewhere={"wespeaker": 2.2},
    ),
    "plda_stream": Case(
        "PLDA training, the pass over 1.09 M x 192, 7,500 classes, from disk", _plda_stream, _write_stream
    ),
    "plda_stream_em": Case("PLDA training, one EM iteration after that pass", _plda_stream_em, _write_stream),
    "plda_score": Case(
        "PLDA scores of 100,000 trials over 5,000 x 192, projection included",
        _plda_score,
        target=Target(seconds=0.3),
        elsewhere={"speechbrain": 0.7, "wespeaker": 1.7},
    ),
}
