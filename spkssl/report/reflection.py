"""What reflective learning (SSRL) made of its pseudo labels, from its utterances.npz: the labels it ended with, and how
it believed them. True labels are compared with afterwards, where there are any.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spkssl.metrics.clusters import majority_class, nmi, purity
from spkssl.report.epochs import by_epoch
from spkssl.report.gating import Trained, right_labels

_REFLECTED = {"utt", "label", "clean"}
_STATS = ("active_classes", "changed_labels", "clean_mean", "effective_share")


def reflection_row(files: Trained) -> dict[str, Any] | None:
    """The labels and clean probabilities SSRL ended with; None for other methods.

    `given_...`: those it began with. `speakers`, `nmi` and the like are None without true labels.
    """
    if set(files.columns) != _REFLECTED:
        return None
    kept = (files.columns["label"] >= 0) & (files.labels >= 0 if files.labels is not None else True)
    labels, clean = files.columns["label"][kept].astype(np.int64), files.columns["clean"][kept].astype(np.float64)
    given = files.labels[kept] if files.labels is not None else None
    row: dict[str, Any] = {
        "n_utts": len(labels),
        "classes": len(np.unique(given)) if given is not None else None,
        "active": len(np.unique(labels)),
        "speakers": None,
        "changed": float((labels != given).mean()) if given is not None else None,
        "clean": float(clean.mean()),
        "effective": float(clean.sum() ** 2 / (clean**2).sum() / len(clean)) if clean.any() else 0.0,
        **dict.fromkeys(("nmi", "purity", "given_nmi", "given_purity", "clean_right", "clean_wrong")),
    }
    if files.speakers is not None:
        speakers = files.speakers[kept]
        right = right_labels(labels, speakers, majority_class(speakers, labels))
        row |= {"speakers": len(np.unique(speakers)), "nmi": nmi(speakers, labels), "purity": purity(speakers, labels)}
        row |= {"clean_right": _mean(clean[right]), "clean_wrong": _mean(clean[~right])}
        if given is not None:
            row |= {"given_nmi": nmi(speakers, given), "given_purity": purity(speakers, given)}
    return {**row, "epochs": list(_reflection_epochs(files.metrics))}


def _reflection_epochs(metrics: Path) -> Iterable[dict[str, Any]]:
    """What each epoch's last line says: these values change between epochs only."""
    for epoch, lines in by_epoch(metrics).items():
        yield {"epoch": epoch, **{name: lines[-1][1].get(name) for name in _STATS}}


def _mean(values: NDArray) -> float | None:
    return float(values.mean()) if len(values) else None
