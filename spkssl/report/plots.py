"""The figures of a run. Each function draws one and returns it; nothing is read from disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from scipy.special import ndtri

from spkssl.metrics.det import TICKS
from spkssl.report.curves import Curve
from spkssl.report.svg import LIGHT, new_figure, style

_MARKS = "osD^vP"
_LAST = ("lr", "utts_per_second", "data_wait")  # panels that say how it ran, not what it learnt
_FIRST = ("loss", "embed_std", "embed_cos", "entropy")
_UNITS = {
    "loss": "loss (as the method defines it)",
    "embed_std": "embed_std (1: spread, 0: collapsed)",
    "embed_cos": "embed_cos (0: spread, 1: collapsed)",
    "entropy": "entropy / ln K (1: all outputs used)",
    "lr": "learning rate",
    "utts_per_second": "utterances / s",
    "data_wait": "share of time waiting for data",
}


def det(curves: Sequence[Curve], order: Sequence[str]) -> Any:
    """Curves of one list, a panel for each back-end, on probit axes."""
    names = list(dict.fromkeys(curve.backend for curve in curves))
    columns = min(len(names), 3)
    rows = ceil(len(names) / columns)
    figure = new_figure(4.2 * columns + 0.4, 4.6 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).flat
    (left, right), (low, high) = (_det_range(curves, axis) for axis in (0, 1))
    for panel, name in zip(axes, names, strict=False):
        for curve in (each for each in curves if each.backend == name):
            look = style(order.index(curve.at))
            panel.plot(curve.x, curve.y, label=f"{curve.at}  {curve.eer:.2f} %", **look)
            panel.plot(*curve.eer_at, "o", color=look["color"], markersize=5)
            for mark, point in zip(_MARKS[1:], curve.costs.values(), strict=False):
                panel.plot(*point, mark, color=look["color"], markersize=4, markerfacecolor="none")
        panel.axline((0, 0), slope=1, color=LIGHT[-1], linewidth=0.6, linestyle=":")
        _probit_axis(panel.xaxis, left, right)
        _probit_axis(panel.yaxis, low, high)
        panel.set(title=name, xlabel="false alarms %", ylabel="misses %")
        panel.set(aspect="equal", xlim=(left, right), ylim=(low, high))
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    for panel in list(axes)[len(names) :]:
        panel.set_visible(False)
    return figure


def steps(rows: Sequence[Mapping[str, Any]], clusters: Sequence[Mapping[str, Any]], order: Sequence[str]) -> Any:
    """EER with its interval by encoder, a panel for each list, and the quality of the pseudo labels."""
    lists = list(dict.fromkeys(row["trials"] for row in rows))
    known = [row for row in clusters if row.get("nmi") is not None]
    panels = len(lists) + bool(known)
    columns = min(panels, 3)
    figure = new_figure(4.0 * columns + 0.4, 3.2 * ceil(panels / columns))
    axes = figure.subplots(ceil(panels / columns), columns, squeeze=False).flatten()
    backends = sorted({row["backend"] for row in rows})
    for panel, name in zip(axes, lists, strict=False):
        for k, backend in enumerate(backends):
            found = [row for row in rows if row["trials"] == name and row["backend"] == backend]
            _with_intervals(panel, found, order, backend, k, (k - (len(backends) - 1) / 2) * 0.08)
        panel.set(title=name, ylabel="EER %", ylim=(0, None))
        panel.legend()
        _name_steps(panel, order)
    if known:
        panel = axes[len(lists)]
        held = [at for at in order if any(row["at"] == at for row in known)]
        for k, name in enumerate(("nmi", "purity", "ari", "accuracy")):
            values = [row.get(name) for row in known]
            label = name.upper() if len(name) == 3 else name
            panel.plot([held.index(row["at"]) for row in known], values, label=label, marker=_MARKS[k], **style(k))
        panel.set(title="pseudo labels against TRUE LABELS", ylabel="0 .. 1", ylim=(0, 1.02))
        panel.legend()
        _name_steps(panel, held)
    for panel in axes[panels:]:
        panel.set_visible(False)
    return figure


def learning(curves: Mapping[str, tuple[list[float], list[float]]], limits: Mapping[str, float]) -> Any:
    """Every scalar of one metrics.jsonl in a panel of its own; dashed where the health check would speak up."""
    first = [name for name in _FIRST if name in curves]
    last = [name for name in _LAST if name in curves]
    names = [*first, *sorted(set(curves) - {*first, *last}), *last]
    columns = min(len(names), 4)
    rows = ceil(len(names) / columns)
    figure = new_figure(2.9 * columns + 0.2, 2.0 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, name in zip(axes, names, strict=False):
        colour = LIGHT[1] if name in limits else LIGHT[-1] if name in _LAST else LIGHT[0]
        few = len(curves[name][0]) < 3
        panel.plot(*curves[name], color=colour, marker="o" if few else None, markersize=3)
        if name in limits:
            panel.axhline(limits[name], color=LIGHT[-1], linestyle="--", linewidth=1)
        panel.set_title(_UNITS.get(name, name), fontsize=8)
        panel.tick_params(labelsize=7)
    for panel in axes[len(names) :]:
        panel.set_visible(False)
    figure.supxlabel("step", fontsize=8)
    return figure


def histograms(curves: Sequence[Curve]) -> Any:
    """Scores of one list: targets and non-targets, a row for each encoder, a column for each back-end."""
    ats = list(dict.fromkeys(curve.at for curve in curves))
    names = list(dict.fromkeys(curve.backend for curve in curves))
    figure = new_figure(3.4 * len(names) + 0.4, 1.5 * len(ats) + 0.4)
    axes = figure.subplots(len(ats), len(names), squeeze=False)
    for panel in axes.flatten():
        panel.set_visible(False)
    for curve in curves:
        panel = axes[ats.index(curve.at), names.index(curve.backend)]
        panel.set_visible(True)
        for k, (label, density) in enumerate((("non-target", curve.nontarget), ("target", curve.target))):
            panel.stairs(density, curve.edges, fill=True, alpha=0.45, color=LIGHT[k], label=label)
        panel.axvline(curve.threshold, color=LIGHT[-1], linewidth=1, linestyle="--")
        panel.set_title(f"{curve.at}, {curve.backend}", fontsize=8)
        panel.tick_params(labelsize=7)
        panel.set_yticks([])
    axes[0, 0].legend(fontsize=7)
    figure.supxlabel("score", fontsize=8)
    figure.supylabel("density", fontsize=8)
    return figure


def cluster_sizes(clusters: Sequence[Mapping[str, Any]]) -> Any:
    """How many clusters have 1, 2-3, 4-7, ... utterances; outlined the true speakers, where they are known."""
    columns = min(len(clusters), 4)
    rows = ceil(len(clusters) / columns)
    figure = new_figure(2.9 * columns + 0.2, 2.3 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, row in zip(axes, clusters, strict=False):
        sizes, true = row["size_histogram"], row.get("speaker_size_histogram")
        bins = np.arange(max(len(sizes), len(true or ())))
        panel.bar(bins[: len(sizes)], sizes, color=LIGHT[0], label="clusters", width=0.8)
        if true:
            edges = np.arange(len(true) + 1) - 0.5
            panel.stairs(true, edges, color=LIGHT[1], linewidth=1.5, label="true speakers")
        panel.set_xticks(bins, [_bin(b) for b in bins], rotation=45, fontsize=7)
        panel.set_title(f"{row['at']}: K = {row['k']:,}", fontsize=8)
        panel.legend(fontsize=7)
    for panel in axes[len(clusters) :]:
        panel.set_visible(False)
    figure.supxlabel("utterances in the cluster", fontsize=8)
    figure.supylabel("clusters", fontsize=8)
    return figure


def _det_range(curves: Sequence[Curve], axis: int) -> tuple[float, float]:
    """Probits that hold the marked points, and some of each curve around them."""
    marked = [point[axis] for curve in curves for point in (curve.eer_at, *curve.costs.values())]
    low = min([*marked, float(ndtri(0.02))]) - 0.15
    return max(low, float(ndtri(1e-4))), min(max([*marked, float(ndtri(0.4))]) + 0.15, float(ndtri(0.99)))


def _probit_axis(axis: Any, low: float, high: float) -> None:
    """Ticks at round rates, as many as there is room for."""
    kept: list[float] = []
    for rate in (*TICKS, 0.6, 0.8, 0.9, 0.95, 0.98):
        at = float(ndtri(rate))
        if low <= at <= high and (not kept or at - float(ndtri(kept[-1])) > 0.08 * (high - low)):
            kept.append(rate)
    axis.set_ticks(ndtri(kept), [f"{100 * rate:g}" for rate in kept], fontsize=7)


def _with_intervals(
    panel: Any, rows: Sequence[Mapping[str, Any]], order: Sequence[str], label: str, k: int, shift: float
) -> None:
    for told in (False, True):  # the reference that knows the speakers is not a step of the same line
        part = [row for row in rows if (row["labels_used"] == "true") == told]
        if not part:
            continue
        x = [order.index(row["at"]) + shift for row in part]
        y = np.array([row["eer"] for row in part])
        low, high = np.array([row.get("eer_ci") or (row["eer"], row["eer"]) for row in part]).T
        # A percentile interval need not hold the estimate itself.
        error = [y - np.minimum(low, y), np.maximum(high, y) - y]
        look = {**style(k), "marker": _MARKS[k % len(_MARKS)], "markersize": 4, "capsize": 2}
        if told:
            look |= {"linestyle": "none", "markerfacecolor": "none", "markersize": 6}
        panel.errorbar(x, y, error, label=None if told else label, **look)


def _name_steps(panel: Any, names: Sequence[str]) -> None:
    panel.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    panel.set_xlim(-0.4, len(names) - 0.6)


def _bin(k: int) -> str:
    return "1" if k == 0 else f"{2**k}-{2 ** (k + 1) - 1}"
