"""Back-ends: from embeddings and pairs of them to scores. numpy and scipy only.

A back-end works in three steps, so that whatever belongs to one embedding is computed once however many trials it
is in: `fit(x, labels)` on training embeddings, `project(x, counts)` per embedding, `pairs(enrol, test, i, j)` per
trial. `score(enrol, test)` is the three-line form for pairs given as rows.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from spkssl.errors import choose

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BACKENDS: dict[str, tuple[str, str]] = {  # name -> (module, class); the module holds `Config` too
    "cosine": ("spkssl.backend.cosine", "Cosine"),
    "asnorm": ("spkssl.backend.asnorm", "AsNorm"),
    "snorm": ("spkssl.backend.snorm", "SNorm"),
    "plda": ("spkssl.backend.plda", "Plda"),
}


class PairBackend(Protocol):
    config: Any
    mean: NDArray[np.float64] | None  # (D,) subtracted from embeddings, once fitted

    def fit(
        self, x: NDArray[Any], labels: NDArray[np.int64] | None = None, mean: NDArray[np.float64] | None = None
    ) -> PairBackend:
        """(N, D), (N,) with -1 = left out; `mean` (D,) is subtracted instead of that of x. Returns itself."""

    def project(self, x: NDArray[Any], counts: NDArray[Any] | None = None) -> Any:
        """(M, D) -> what `pairs` reads; `counts` (M,): utterances averaged into each row, 1 where None."""

    def pairs(self, enrol: Any, test: Any, i: NDArray[Any], j: NDArray[Any]) -> NDArray[np.float64]:
        """Scores of enrolment row i[p] against test row j[p]: (P,)."""

    def score(self, enrol: NDArray[Any], test: NDArray[Any], counts: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """(P, D), (P, D) -> (P,); higher = same speaker."""

    def save(self, path: str | Path) -> None: ...


def config_of(name: str) -> type:
    """The Config class of a back-end."""
    module, _ = BACKENDS[choose("back-end", name, BACKENDS)]
    return import_module(module).Config


def configs() -> dict[str, type]:
    """Name -> Config, for `spkssl.config.choice`."""
    return {name: config_of(name) for name in BACKENDS}


def make_backend(name: str, config: Any | None = None) -> PairBackend:
    """An unfitted back-end."""
    return _class_of(name)(config)


def load_backend(path: str | Path) -> PairBackend:
    """The fitted back-end that `save` wrote."""
    from spkssl.backend.store import stored_name

    return _class_of(stored_name(path)).load(path)


def _class_of(name: str) -> Any:
    module, cls = BACKENDS[choose("back-end", name, BACKENDS)]
    return getattr(import_module(module), cls)
