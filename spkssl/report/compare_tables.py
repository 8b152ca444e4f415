"""What a comparison found, as tables and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from spkssl.report import costs, trainings
from spkssl.report.gating_tables import spread_tables
from spkssl.report.page import document, figure
from spkssl.report.svg import drawing, inline, new_figure, style
from spkssl.report.tables import Table, number

_FOREST = (
    "Each line is one pair of runs on the same trials: disc the difference of the EERs, bar its 95 % interval. Left of "
    "the dashed line the named system is better; a bar that crosses it shows no difference on these speakers."
)
_MEANS = "Mean EER over the seeds; the bar is one standard deviation to each side, missing where there is one seed."


def tables(found: Mapping[str, Any]) -> list[Table]:
    shown = [_spread(found["spread"])]
    if found["clusters"]:
        shown.append(_clusters(found["clusters"]))
    shown += spread_tables(found)
    if found.get("trainings"):
        shown.append(trainings.table(found["trainings"]))
    if found.get("costs"):
        shown.append(costs.table(found["costs"]))
    if any(row["difference"]["n"] > 1 for row in found["difference_spread"]):
        shown.append(_difference_spread(found["difference_spread"]))
    if found["differences"] or found["notes"]:
        shown.append(_differences(found))
    return shown


def markdown(found: Mapping[str, Any], command: str) -> str:
    body = "\n".join(table.markdown() for table in tables(found))
    return f"# Comparison\n\nWritten by `spkssl report`.\n\n{body}\n## Command\n\n```\n{command}\n```\n"


def page(found: Mapping[str, Any], command: str) -> str:
    parts = ["<h1>Comparison</h1>\n", *(table.html() for table in tables(found)), "<h2>Plots</h2>\n"]
    with drawing("means"):
        parts.append(figure("Mean and spread", _MEANS, inline(means(found["spread"]), "Mean EER of each system")))
    if found["differences"]:
        with drawing("forest"):
            drawn = inline(forest(found["differences"]), "Differences of EER on the same trials")
            parts.append(figure("Differences", _FOREST, drawn))
    parts.append(f"<h2>Command</h2>\n<pre>{escape(command)}</pre>\n")
    return document("Comparison", parts)


def means(rows: Sequence[Mapping[str, Any]]) -> Any:
    """EER of each system by encoder, a panel for each list and back-end."""
    panels = list(dict.fromkeys((row["trials"], row["backend"]) for row in rows))
    systems = list(dict.fromkeys(row["system"] for row in rows))
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    drawn = new_figure(4.2 * columns, 3.2 * lines)
    axes = drawn.subplots(lines, columns, squeeze=False).flatten()
    for panel, key in zip(axes, panels, strict=False):
        held = [row for row in rows if (row["trials"], row["backend"]) == key]
        ats = list(dict.fromkeys(row["at"] for row in held))
        for k, system in enumerate(systems):
            mine = [row for row in held if row["system"] == system]
            x = [ats.index(row["at"]) + 0.1 * (k - (len(systems) - 1) / 2) for row in mine]
            bars = [row["eer"]["sd"] or 0 for row in mine]
            look = {**style(k), "linestyle": "none", "marker": "o", "capsize": 2}
            panel.errorbar(x, [row["eer"]["mean"] for row in mine], bars, label=system, **look)
        panel.set(title=" ".join(key), ylabel="EER %", ylim=(0, None))
        panel.set_xticks(range(len(ats)), ats, rotation=30, ha="right", fontsize=8)
        panel.legend()
    for panel in axes[len(panels) :]:
        panel.set_visible(False)
    return drawn


def forest(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The differences, one under the other."""
    drawn = new_figure(8, 0.8 + 0.26 * len(rows))
    panel = drawn.subplots()
    systems = list(dict.fromkeys(row["system"] for row in rows))
    for y, row in enumerate(rows):
        colour = style(systems.index(row["system"]))["color"]
        panel.plot([row["low"], row["high"]], [y, y], color=colour)
        panel.plot(row["difference"], y, "o", color=colour, markersize=4)
    panel.axvline(0, color=style(7)["color"], linestyle="--", linewidth=1)
    names = [f"{r['system']} - {r['minus']}, {r['at']} {r['backend']} {r['trials']}, seed {_seeds(r)}" for r in rows]
    panel.set_yticks(range(len(rows)), names, fontsize=7)
    panel.invert_yaxis()
    panel.set_xlabel("difference of EER in percent points")
    return drawn


def _spread(rows: Sequence[Mapping[str, Any]]) -> Table:
    points = list(dict.fromkeys(p for row in rows for p in row["min_dcf"]))
    columns = ("system", "encoder", "back-end", "trials", "runs", "EER % mean", "sd")
    columns += tuple(name for p in points for name in (f"minDCF({p}) mean", "sd")) + ("labels used",)
    lines = []
    for row in rows:
        cells = [row["system"], row["at"], row["backend"], row["trials"], str(len(row["seeds"]))]
        cells += [number(row["eer"]["mean"], 3), number(row["eer"]["sd"], 3)]
        for p in points:
            found = row["min_dcf"].get(p) or {"mean": None, "sd": None}
            cells += [number(found["mean"], 4), number(found["sd"], 4)]
        lines.append((*cells, row["labels_used"]))
    note = "sd: standard deviation over runs (n - 1); of few runs it is itself very uncertain."
    return Table("Systems", columns, tuple(lines), 4, (note,))


def _clusters(rows: Sequence[Mapping[str, Any]]) -> Table:
    names = ("k", "nmi", "purity", "ari")
    columns = ("system", "embeddings of", "runs")
    for name in names:
        columns += (f"{name.upper() if len(name) <= 3 else name} mean", "sd")
    lines = []
    for row in rows:
        cells = [row["system"], row["at"], str(row["k"]["n"])]
        for name in names:
            digits = 1 if name == "k" else 4
            cells += [number(row[name]["mean"], digits), number(row[name]["sd"], digits)]
        lines.append(tuple(cells))
    note = "NMI, purity and ARI are against the TRUE LABELS; - where the run's report had none."
    return Table("Pseudo labels", columns, tuple(lines), 2, (note,))


def _differences(found: Mapping[str, Any]) -> Table:
    columns = ("system", "minus", "encoder", "back-end", "trials", "seeds", "EER %", "other %", "difference")
    columns += ("95 % interval", "reading")
    lines = []
    for row in found["differences"]:
        cells = [row["system"], row["minus"], row["at"], row["backend"], row["trials"], _seeds(row)]
        cells += [number(row["eer"], 3), number(row["other_eer"], 3), f"{row['difference']:+.3f}"]
        lines.append((*cells, f"{row['low']:+.3f} .. {row['high']:+.3f}", _reading(row)))
    note = (
        "Difference in percent points; interval by bootstrap over speakers, the same draws for both. It is of these "
        "two trainings: whether one system is better than the other takes several seeds."
    )
    return Table("Differences on the same trials", columns, tuple(lines), 6, (note, *found["notes"]))


def _difference_spread(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("system", "minus", "encoder", "back-end", "trials", "pairs", "difference", "sd", "lower in", "higher in")
    lines = []
    for row in rows:
        moments = row["difference"]
        cells = [row["system"], row["minus"], row["at"], row["backend"], row["trials"], str(moments["n"])]
        cells += [f"{moments['mean']:+.3f}", number(moments["sd"], 3), str(row["lower"]), str(row["higher"])]
        lines.append(tuple(cells))
    note = (
        "Mean and standard deviation (n - 1) of the differences in percent points over pairs of runs on the same data "
        "with the same seed; lower, higher: in how many pairs the interval leaves zero out."
    )
    return Table("Differences over all pairs", columns, tuple(lines), 5, (note,))


def _reading(row: Mapping[str, Any]) -> str:
    if row["low"] <= 0 <= row["high"]:
        return "no difference shown"
    return f"{row['system'] if row['high'] < 0 else row['minus']} is better"


def _seeds(row: Mapping[str, Any]) -> str:
    one, two = row["seeds"]
    seeds = str(one) if one == two else f"{one} against {two}"
    return f"{row['data']}: {seeds}" if row.get("data") else seeds
