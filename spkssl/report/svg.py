"""Figures as inline SVG that take the page's colours, so that one file serves light and dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from io import StringIO
from typing import Any

# Okabe and Ito's palette, told apart by colour-blind readers too, its yellow and black replaced; on dark ground a
# lighter twin takes over.
LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a5cc7", "#b8860b", "#56a4d8", "#7f7f7f")
DARK = ("#5ab4f0", "#ff9350", "#3fd6a8", "#f0a3cd", "#b39df5", "#e6bd4c", "#9ad2f5", "#b0b0b0")
_INK = "#101418"  # stands for the colour of the text
_XML = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|\s+xmlns(:\w+)?=\"[^\"]*\"", re.S)


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """Matplotlib's settings while a figure is made and saved; `name` keeps the ids of figures on one page apart."""
    from matplotlib import rc_context

    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.18,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "lines.linewidth": 1.5,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
    }
    inks = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
    with rc_context({**settings, **dict.fromkeys(inks, _INK)}):
        yield


def new_figure(width: float, height: float) -> Any:
    """A figure of its own, in inches; no pyplot, which keeps a global list of them."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def inline(figure: Any, title: str) -> str:
    """The figure as an `<svg>` element of an HTML page: no prolog, no addresses, colours by variables."""
    out = StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = _XML.sub("", out.getvalue()).replace("xlink:href", "href").strip()
    for k, colour in enumerate(LIGHT):
        text = text.replace(colour, f"var(--s{k})")
    text = text.replace(_INK, "currentColor")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)


def style(k: int) -> dict[str, Any]:
    """Colour and dash of series k: after the colours are used up, the dash tells."""
    return {"color": LIGHT[k % len(LIGHT)], "linestyle": ("-", "--", ":", "-.")[k // len(LIGHT) % 4]}
