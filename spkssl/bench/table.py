"""The figures as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HEADER = ("case", "seconds (least-most)", "per second", "peak MB", "target", "others: ratio of seconds")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for each case; a ratio of 2 means that the other one takes twice as long."""
    lines = [HEADER, *(_line(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in lines)


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    if "skipped" in row:
        return (row["case"], f"skipped: {row['skipped']}", "", "", "", "")
    seconds, rate = row["seconds"], row["rate"]
    others = [f"{peer['peer']} {peer['ratio']:.2f} ({peer['peak_mb']:.0f} MB)" for peer in row["peers"]]
    others += [f"{name} {taken:g} s elsewhere" for name, taken in row["elsewhere_seconds"].items()]
    return (
        row["case"],
        f"{_short(seconds['median'])} ({_short(seconds['min'])}-{_short(seconds['max'])})",
        f"{_short(rate['median'])} {rate['unit'].replace(' per second', '').replace(' and thread', '/thread')}",
        f"{row['peak_mb']:.0f}",
        _target(row["target"], row["met"]),
        ", ".join(others),
    )


def _target(target: Mapping[str, float], met: bool | None) -> str:
    signs = {"seconds": "<= {:g} s", "peak_mb": "<= {:g} MB", "rate": ">= {:g}/s"}
    said = ", ".join(signs[name].format(value) for name, value in target.items())
    return said if met is None else f"{said}: {'met' if met else 'MISSED'}"


def _short(value: float) -> str:
    """Three significant digits, thousands apart."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
