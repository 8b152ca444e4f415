"""Tables as rows of text, and how they look on screen, in Markdown and in HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from spkssl.report.run import View, labels_used

_TRUTH = "TRUE LABELS"
_LINES = 24  # of a table by epoch; of longer trainings some epochs are shown


@dataclass(frozen=True)
class Table:
    """`left`: how many columns hold words; the others hold numbers and are set right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For the screen."""
        table = [self.columns, *self.rows]
        widths = [max(len(line[column]) for line in table) for column in range(len(self.columns))]
        shown = []
        for line in table:
            cells = [self._pad(cell, width, i) for i, (cell, width) in enumerate(zip(line, widths, strict=True))]
            shown.append("  ".join(cells).rstrip())
        return [self.title, *shown, *self.notes]

    def markdown(self) -> str:
        rules = [":--" if self._is_text(i) else "--:" for i in range(len(self.columns))]
        lines = [self.columns, rules, *(tuple(map(_cell, row)) for row in self.rows)]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        notes = "".join(f"\n{note}\n" for note in self.notes)
        return f"## {self.title}\n\n{body}\n{notes}"

    def html(self) -> str:
        def cells(tag: str, line: Sequence[str]) -> str:
            return "".join(
                f"<{tag}{'' if self._is_text(i) else ' class=n'}>{escape(cell)}</{tag}>" for i, cell in enumerate(line)
            )

        body = "".join(
            f"<tr{' class=truth' if any(_TRUTH in cell for cell in row) else ''}>{cells('td', row)}</tr>\n"
            for row in self.rows
        )
        notes = "".join(f"<p class=note>{escape(note)}</p>\n" for note in self.notes)
        return (
            f"<h2>{escape(self.title)}</h2>\n<div class=wide><table>\n"
            f"<thead><tr>{cells('th', self.columns)}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n{notes}"
        )

    def _is_text(self, column: int) -> bool:
        return column < self.left or self.columns[column] in ("labels used", "reading")

    def _pad(self, cell: str, width: int, column: int) -> str:
        return cell.ljust(width) if self._is_text(column) else cell.rjust(width)


def number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"


def _thinned(epochs: list[int]) -> list[int]:
    """At most as many of them as a table shows, evenly, with the last one."""
    step = -(-len(epochs) // _LINES)
    return epochs[::-1][::step][::-1] if step > 1 else epochs


def epoch_lines(
    rows: Sequence[Mapping[str, Any]], cells: Callable[[Mapping[str, Any]], list[str]]
) -> tuple[tuple[str, ...], ...]:
    """The `epochs` of each row side by side, thinned, counted from 1; `cells` shows one, {} where a row has none."""
    found = [{epoch["epoch"]: epoch for epoch in row["epochs"]} for row in rows]
    shown = _thinned(sorted({number_ for epochs in found for number_ in epochs}))
    return tuple((str(k + 1), *(cell for epochs in found for cell in cells(epochs.get(k, {})))) for k in shown)


def results_table(view: View) -> Table:
    points = _points(view.rows)
    columns = ("encoder", "back-end", "trials", "EER %", "95 % interval")
    columns += (*(f"minDCF({p})" for p in points), "Cllr bit", "targets", "non-targets", "labels used", "training s")
    rows = [_result(view, row, points) for row in view.rows]
    notes = [
        "Interval: bootstrap over speakers. minDCF(p): prior p of a target, unit costs. Cllr: of scores that are "
        "likelihood ratios, of PLDA or by calibration on trials with true labels. Labels used: by training and "
        "back-end.",
    ]
    if any(row["labels_used"] == "true" for row in view.rows):
        notes.append(f"{_TRUTH}: a reference that was told the speakers; not a self-supervised result.")
    if any(row[-1].startswith(">") for row in rows):
        notes.append("> s: training was killed and resumed; the time is that of the last call.")
    return Table(f"Verification: {view.name}, seed {view.seed}", columns, tuple(rows), 3, tuple(notes))


def cluster_table(view: View) -> Table:
    """Pseudo labels; the columns that need true labels only where those were there."""
    known = any("nmi" in row for row in view.clusters)
    extra = list(dict.fromkeys(name for row in view.clusters for name in row.get("label_free") or {}))
    columns = ("embeddings of", "method", "K", "utterances", "left out", "smallest", "median", "largest", "single")
    columns += tuple(name.replace("_", " ") for name in extra)
    if known:
        columns += ("speakers", "NMI", "purity", "ARI", "accuracy", "NMI, all", "purity, all")
    rows = []
    for row in view.clusters:
        quality = row.get("label_free") or {}
        cells = [row["at"], row["method"] or "-", *(_count(row[name]) for name in ("k", "n_utts", "left_out"))]
        cells += [_count(row["smallest"]), f"{row['median']:g}", _count(row["largest"]), _count(row["singletons"])]
        cells += [number(quality.get(name), 4) for name in extra]
        if known:
            cells.append(_count(row["n_speakers"]) if "nmi" in row else "-")
            cells += [number(row.get(name), 4) for name in ("nmi", "purity", "ari", "accuracy")]
            cells += [number((row.get("with_left_out") or {}).get(name), 4) for name in ("nmi", "purity")]
        rows.append(tuple(cells))
    notes = (
        ("NMI to accuracy: against the TRUE LABELS, which nothing but this report reads; of utterances that have a "
         "cluster. All: each utterance left out is a cluster of its own.",)
        if known
        else ("Without true labels: sizes only, no NMI.",)
    )  # fmt: skip
    return Table("Pseudo labels", columns, tuple(rows), 2, notes)


def cost_table(view: View, work: Iterable[tuple[str, dict[str, Any]]]) -> Table:
    """Seconds and memory of each marked piece of work."""
    rows = [
        (title, *(number(facts.get(name), 1) for name in ("seconds", "cpu_seconds")), *_counts(facts))
        for title, facts in work
    ]
    note = (
        "Time of the last call of each, on the wall clock, and of all cores together; memory is the largest resident "
        "size of its process."
    )
    return Table("Cost", ("work", "time s", "CPU s", "peak MB", "steps"), tuple(rows), 1, (note,))


def trials_table(view: View, fingerprints: dict[str, str]) -> Table:
    first = {row["trials"]: row for row in reversed(view.rows)}
    rows = [
        (name, fingerprints.get(name) or "-", _count(first[name]["n_target"]), _count(first[name]["n_nontarget"]))
        for name in view.lists()
    ]
    return Table("Trial lists", ("trials", "digest (BLAKE2b)", "targets", "non-targets"), tuple(rows), 2)


def _result(view: View, row: dict[str, Any], points: list[str]) -> tuple[str, ...]:
    training = view.training(row["at"])
    seconds = number(training.get("seconds"), 0)
    return (
        row["at"] or "-",
        row["backend"],
        row["trials"],
        number(row["eer"], 3),
        "{:.2f} - {:.2f}".format(*row["eer_ci"]) if row.get("eer_ci") else "-",
        *(number(row["min_dcf"].get(p), 4) for p in points),
        number(row["cllr"], 4),
        _count(row["n_target"]),
        _count(row["n_nontarget"]),
        labels_used(row),
        f">{seconds}" if training.get("resumed") else seconds,
    )


def _points(rows: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(p for row in rows for p in row["min_dcf"]))


def _counts(facts: dict[str, Any]) -> tuple[str, str]:
    return _count(facts.get("peak_mb")), _count(facts.get("steps"))


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _cell(text: str) -> str:
    text = text.replace("|", "\\|")
    return text.replace(_TRUTH, f"**{_TRUTH}**")
