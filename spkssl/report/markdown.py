"""RESULTS.md: the tables of a run, with what is needed to have them again."""

from __future__ import annotations

from collections.abc import Sequence

from spkssl.report.run import View
from spkssl.report.setting import commands, facts
from spkssl.report.tables import Table


def markdown(view: View, tables: Sequence[Table], report_command: str) -> str:
    """Every number is one of results.json or of a marker, rounded."""
    given = "\n".join(f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in facts(view))
    calls = "\n".join([*commands(view), report_command])
    return (
        f"# {view.name}\n\nMeasured here, written by `spkssl report`; change nothing by hand.\n\n"
        f"| | |\n| :-- | :-- |\n{given}\n\n"
        + "\n".join(table.markdown() for table in tables)
        + f"\n## Commands\n\n```\n{calls}\n```\n"
    )
