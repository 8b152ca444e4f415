"""report.html: one file with everything in it, readable by day and by night and without a network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from spkssl.report import plots
from spkssl.report.curves import by_list, read_curves
from spkssl.report.run import View, read_metrics
from spkssl.report.setting import commands, facts, health_limits
from spkssl.report.svg import DARK, LIGHT, drawing, inline
from spkssl.report.tables import Table

_DET = (
    "Each point of a curve is a threshold: how many impostors it lets in against how many speakers it turns away; "
    "nearer to the lower left is better. Disc: EER, on the dotted diagonal. Hollow marks: where the least detection "
    "cost lies (square, then diamond, for the priors in the order of the table). The axes are stretched like a normal "
    "distribution, so that scores of normal shape make straight lines; few errors make ragged ends."
)
_STEPS = (
    "Lower EER is better; bars are 95 % intervals by bootstrap over speakers: two steps whose bars overlap widely are "
    "not told apart by this list. A hollow mark that no line reaches was trained on true labels. NMI and the others "
    "compare pseudo labels with true ones: 1 is perfect, and an ARI of 0 is chance."
)
_SIZES = (
    "Utterances in a cluster, in powers of two. Outlined, where known: how the true speakers are spread. Many clusters "
    "of one utterance, or one giant, mean that the embeddings or K do not fit."
)
_LEARNING = (
    "One panel for each scalar that training logged; losses of different methods cannot be compared. Dashed: where "
    "the health check gives an alarm. embed_std or entropy near 0, or embed_cos near 1, mean collapse."
)
_SCORES = (
    "The less the two humps overlap, the fewer errors. Dashed: the threshold of the EER. A threshold fits these trials "
    "and this back-end alone."
)


def page(view: View, tables: Sequence[Table], closing: Sequence[Table], report_command: str) -> str:
    """`tables` open the page, plots follow, `closing` and the commands end it."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts(view))
    calls = "\n".join([*commands(view), report_command])
    parts = [
        f"<h1>{escape(view.name)}</h1>\n<div class=wide><table class=facts>{rows}</table></div>\n",
        *(table.html() for table in tables),
        *_plots(view),
        *(table.html() for table in closing),
        f"<h2>Commands</h2>\n<pre>{escape(calls)}</pre>\n",
    ]
    return document(f"{view.name}, seed {view.seed}", parts)


def document(title: str, parts: Sequence[str]) -> str:
    """A whole HTML page around these parts."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_css()}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "</main>\n</body>\n</html>\n"
    )


def figure(title: str, how: str, drawn: str) -> str:
    return (
        f"<h3>{escape(title)}</h3>\n<figure>\n<div class=wide>{drawn}</div>\n"
        f"<figcaption><b>How to read:</b> {escape(how)}</figcaption>\n</figure>\n"
    )


def _plots(view: View) -> list[str]:
    order, lists = list(view.order), by_list(read_curves(view))
    parts = ["<h2>Plots</h2>\n"]
    for name, curves in lists.items():
        with drawing(f"det {name}"):
            title = f"Errors against each other: {name}"
            parts.append(figure(title, _DET, inline(plots.det(curves, order), title)))
    shown = [at for at in order if any(row["at"] == at for row in view.rows)]
    with drawing("steps"):
        drawn = inline(plots.steps(view.rows, view.clusters, shown), "EER and pseudo labels by step")
        parts.append(figure("Step by step", _STEPS, drawn))
    if view.clusters:
        with drawing("sizes"):
            drawn = inline(plots.cluster_sizes(view.clusters), "Cluster sizes")
            parts.append(figure("Cluster sizes", _SIZES, drawn))
    for at in order:
        scalars = read_metrics(view.metrics_file(at))
        if scalars:
            with drawing(f"learning {at}"):
                drawn = inline(plots.learning(scalars, health_limits(view, at)), f"Learning curves of {at}")
                parts.append(figure(f"Learning: {at}", _LEARNING, drawn))
    for name, curves in lists.items():
        with drawing(f"scores {name}"):
            drawn = inline(plots.histograms(curves), f"Scores of {name}")
            parts.append(figure(f"Scores: {name}", _SCORES, drawn))
    return parts


def _css() -> str:
    light = " ".join(f"--s{k}: {colour};" for k, colour in enumerate(LIGHT))
    dark = " ".join(f"--s{k}: {colour};" for k, colour in enumerate(DARK))
    return f"""\
:root {{ color-scheme: light dark; --back: #ffffff; --text: #1a1f24; --soft: #5b6670; --line: #d5dade; --truth: #fff1c9;
  {light} }}
@media (prefers-color-scheme: dark) {{ :root {{ --back: #14181c; --text: #e4e8eb; --soft: #9aa5ae; --line: #38414a;
  --truth: #4a3c10; {dark} }} }}
body {{ margin: 0; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }}
main {{ max-width: 78rem; margin: 0 auto; padding: 1.5rem; }}
h1 {{ margin: 0 0 .5rem; }} h2 {{ margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); }}
h3 {{ margin: 1.6rem 0 .3rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }}
th, td {{ padding: .2rem .7rem .2rem 0; text-align: left; white-space: nowrap; }}
.facts td {{ white-space: normal; }}
th {{ color: var(--soft); font-weight: 600; }} thead th {{ border-bottom: 1px solid var(--line); }}
.n {{ text-align: right; }} .truth td {{ background: var(--truth); }}
.note, figcaption {{ color: var(--soft); font-size: 13px; max-width: 60rem; }}
figure {{ margin: 0; }} svg {{ max-width: 100%; height: auto; min-width: 20rem; }}
pre {{ overflow-x: auto; padding: .8rem; border: 1px solid var(--line); font-size: 13px; }}
@media print {{ body {{ font-size: 12px; }} figure {{ break-inside: avoid; }} }}
"""
