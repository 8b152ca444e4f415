"""Agglomerative clustering: Ward down to a number of clusters, or average linkage up to a cosine similarity.

More rows than `max_rows` are first gathered into micro clusters, at most N/4 of them as in Hyperion's recipe (JHU,
arXiv 2109.13425); their means take part as they are, each counting once, as there and in sslsv, or by their sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spkssl.cluster.labels import canonical
from spkssl.cluster.linkage import Linkage, cut, tree
from spkssl.cluster.micro import micro_clusters
from spkssl.cluster.vectors import as_rows, unit_rows
from spkssl.errors import complain


@dataclass(frozen=True)
class Config:
    name: str = "ahc"
    linkage: Literal["auto", "ward", "average"] = "auto"  # auto: average with a threshold, else ward
    threshold: float | None = None  # merge while cosine >= this; Hyperion .875 (ECAPA DINO), .80 fine-tuned
    max_rows: int = 20_000  # half a minute to a minute; time grows with the square
    micro_share: float = 0.25  # of the rows: micro clusters beyond max_rows (Hyperion N/4), never more than max_rows
    weighted: bool = False  # micro clusters count by their size

    def __post_init__(self) -> None:
        if self.threshold is not None and self.linkage == "ward":
            raise ValueError("threshold: is a cosine, which needs linkage average")

    @property
    def number(self) -> str:
        return "needed" if self.threshold is None else "found"


class Ahc:
    def __init__(self, *, config: Config, num_clusters: int | None) -> None:
        self.config, self.num_clusters = config, num_clusters

    def fit_predict(self, x: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
        """(N, D) -> (N,) labels 0..K-1; average linkage compares directions, ward the rows as they are."""
        x, config = as_rows(x), self.config
        linkage: Linkage = "ward" if config.threshold is None else "average"
        if config.linkage != "auto":
            linkage = config.linkage
        if linkage == "average":
            x = unit_rows(x)
        number = len(x) if len(x) <= config.max_rows else min(round(config.micro_share * len(x)), config.max_rows)
        if self.num_clusters is not None and number < min(self.num_clusters, len(x)):
            what = f"{self.num_clusters} clusters asked for, of only {number} micro clusters"
            raise complain("ahc", what, "raise max_rows and micro_share, or take kmeans_ahc")
        micro = micro_clusters(x, number, rng)
        # Hyperion compares micro centres by cosine, so that they are unit rows again.
        centres = unit_rows(micro.centres) if linkage == "average" else micro.centres
        merges = tree(centres, linkage, micro.sizes if config.weighted else None)
        height = np.inf if config.threshold is None else 1 - config.threshold
        return canonical(cut(merges, self.num_clusters, height)[micro.labels])
