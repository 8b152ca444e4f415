"""Rows of results.json on pseudo labels: their sizes always, their truth where true labels exist."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spkssl.errors import complain, some
from spkssl.io.tables import read_table
from spkssl.metrics.clusters import ClusterScores, cluster_averaged_purity, cluster_summary
from spkssl.metrics.contingency import NOISE, contingency
from spkssl.metrics.unlabelled import size_histogram

_SCORES = ("nmi", "purity", "inverse_purity", "ari", "accuracy", "pairwise_f", "bcubed_f")
_TRUTH = (*_SCORES, "purity_by_cluster", "with_left_out", "n_speakers", "speaker_size_histogram", "true_labels")


def cluster_row(utt2cluster: Path, reference: Path | None) -> dict[str, Any]:
    """One clustering: method, k, what was left out, sizes; nmi and the rest only with true labels.

    nmi, purity, ari and accuracy are of the utterances that have a cluster; `with_left_out` counts each other
    utterance as a cluster of its own.
    """
    utts, clusters = read_clusters(utt2cluster)
    sizes = size_histogram(clusters)
    row = {
        "method": _method(utt2cluster),
        "k": sizes.n_clusters,
        "n_utts": len(clusters),
        "left_out": sizes.n_left_out,
        "smallest": sizes.smallest,
        "median": sizes.median,
        "largest": sizes.largest,
        "singletons": sizes.n_singletons,
        "size_histogram": sizes.histogram.tolist(),
        "label_free": _label_free(utt2cluster),
    }
    return row if reference is None else {**row, **_against(reference, utt2cluster, utts, clusters)}


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The new row, with what others wrote into the old one; nothing of the truth outlives its labels."""
    return {**{key: value for key, value in old.items() if key not in _TRUTH}, **new}


def read_clusters(utt2cluster: Path) -> tuple[list[str], NDArray[np.int64]]:
    """Utterances and their clusters, -1 for those left out."""
    table = read_table(utt2cluster)
    try:
        clusters = np.array([int(value) for value in table.values()], np.int64)
    except ValueError:
        utt = next(utt for utt, value in table.items() if not value.lstrip("-").isdecimal())
        what = f"cluster {table[utt]!r} of {utt} is not a number"
        raise complain(utt2cluster, what, "run stage 5 (cluster) again") from None
    if not len(clusters):
        raise complain(utt2cluster, "is empty", "run stage 5 (cluster) again")
    return list(table), clusters


def _against(reference: Path, utt2cluster: Path, utts: list[str], clusters: NDArray) -> dict[str, Any]:
    speaker = read_table(reference)
    unknown = [utt for utt in utts if utt not in speaker]
    if unknown:
        do = f"use the true labels of the set in {utt2cluster}"
        raise complain(reference, f"has no speaker of {some(unknown)}", do)
    # The file may name only what was given a cluster.
    known = set(utts)
    absent = [name for utt, name in speaker.items() if utt not in known]
    classes = np.unique([speaker[utt] for utt in utts] + absent, return_inverse=True)[1]
    clusters = np.concatenate([clusters, np.full(len(absent), NOISE, np.int64)])
    found = cluster_summary(classes, clusters)
    if found.assigned is None:
        raise complain(utt2cluster, "leaves out every utterance", "cluster again")
    sizes = np.bincount(classes)
    return {
        **_plain(found.assigned),
        "purity_by_cluster": cluster_averaged_purity(contingency(classes, clusters, noise="drop")),
        "with_left_out": _plain(found.with_singletons),
        "n_utts": len(clusters),
        "left_out": int((clusters == NOISE).sum()),
        "n_speakers": len(sizes),
        "speaker_size_histogram": np.bincount(np.frexp(sizes)[1] - 1).tolist(),
        "true_labels": "read by the report alone",
    }


def _plain(scores: ClusterScores) -> dict[str, float]:
    pairs = {"pairwise_f": scores.pairwise.f, "bcubed_f": scores.bcubed.f}
    return {name: pairs[name] if name in pairs else getattr(scores, name) for name in _SCORES}


def _info(utt2cluster: Path) -> dict[str, Any]:
    path = utt2cluster.parent / "info.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise complain(path, f"is not valid JSON ({error})", "run stage 5 (cluster) again") from None


def _method(utt2cluster: Path) -> str | None:
    return (_info(utt2cluster).get("algorithm") or {}).get("name")


def _label_free(utt2cluster: Path) -> dict[str, float]:
    """The numbers that clustering itself wrote about its quality, `stability: {ari: x}` as stability_ari."""
    found: dict[str, float] = {}
    for name, value in (_info(utt2cluster).get("quality") or {}).items():
        inner = {f"{name}_{key}": each for key, each in value.items()} if isinstance(value, Mapping) else {name: value}
        found |= {key: each for key, each in inner.items() if isinstance(each, int | float)}
    return found
