"""What a clustering says of itself, without true labels: sizes, margins, stability, agreement with earlier labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spkssl.cluster import ClusterConfig
from spkssl.cluster.labels import LEFT_OUT, count, read_labels
from spkssl.cluster.pipeline import Clustering
from spkssl.config import to_dict
from spkssl.metrics.clusters import nmi
from spkssl.metrics.unlabelled import centre_fit, size_histogram, stability


def describe(
    found: Clustering, config: ClusterConfig, utts: Sequence[str], rng: np.random.Generator, earlier: Path | None = None
) -> dict[str, Any]:
    """The content of info.json; `earlier`: utt2cluster of the round before."""
    sizes = size_histogram(found.labels)
    quality: dict[str, Any] = {"silhouette": None, "margin": None, "share_misplaced": None}
    if count(found.labels) > 1:
        fit = centre_fit(found.prepared, found.labels)
        quality = {"silhouette": fit.silhouette, "margin": fit.margin, "share_misplaced": fit.share_misplaced}
    quality["stability"] = _stability(found, config, rng)
    quality["nmi_with_previous"] = _agreement(utts, found.labels, earlier)
    return {
        "algorithm": to_dict(config.algorithm),
        "settings": {key: value for key, value in to_dict(config).items() if key != "algorithm"},
        "num_clusters": sizes.n_clusters,
        "asked": found.asked,
        "estimate": found.estimate and {"number": found.estimate.number, "by": found.estimate.by},
        "utts": len(utts),
        "left_out": sizes.n_left_out,
        "sizes": {
            "smallest": sizes.smallest,
            "median": sizes.median,
            "largest": sizes.largest,
            "singletons": sizes.n_singletons,
            "histogram": {str(2**i): int(n) for i, n in enumerate(sizes.histogram)},  # from 2^i to 2^(i+1) - 1 members
        },
        "quality": quality,
    }


def summary(info: Mapping[str, Any]) -> str:
    """A line of what `describe` found."""
    quality, sizes = info["quality"], info["sizes"]
    line = f"{info['num_clusters']} clusters of {info['utts'] - info['left_out']} utterances"
    line += f" by {info['algorithm']['name']}"
    line += f", sizes {sizes['smallest']} to {sizes['largest']}, {info['left_out']} left out"
    if quality["silhouette"] is not None:
        line += f"; silhouette {quality['silhouette']:.3f}, margin {quality['margin']:.3f}"
    if quality["nmi_with_previous"] is not None:
        line += f", NMI {quality['nmi_with_previous']:.3f} with the labels before"
    return line


def _stability(found: Clustering, config: ClusterConfig, rng: np.random.Generator) -> dict[str, float] | None:
    if not config.stability:
        return None
    agreement = stability(found.clusterer.fit_predict, found.prepared, rng, rounds=config.stability)
    return {"ari": float(agreement.ari.mean()), "nmi": float(agreement.nmi.mean())}


def _agreement(utts: Sequence[str], labels: NDArray[np.int64], earlier: Path | None) -> float | None:
    """NMI with the earlier labels, on the utterances that have a label in both."""
    if earlier is None:
        return None
    old = read_labels(earlier)
    before = np.array([old.get(utt, LEFT_OUT) for utt in utts])
    both = (before != LEFT_OUT) & (labels != LEFT_OUT)
    return nmi(before[both], labels[both]) if both.any() else None
