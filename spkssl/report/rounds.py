"""What `spkssl stop` decided after each round, and from which values; none of them needs true labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spkssl.errors import complain
from spkssl.report.run import View
from spkssl.report.tables import Table, number, percent


def round_row(path: Path) -> dict[str, Any] | None:
    """A row of the table `rounds` of results.json from a stop.json; None where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {
            "decision": found["decision"],
            "why": found["why"],
            "rule": found["rule"]["rule"],
            **{name: found["values"][name] for name in ("nmi", "ari", "accepted", "silhouette", "margin")},
        }
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        what = f"is no decision of a round ({type(error).__name__}: {error})"
        raise complain(path, what, "remove it and run stage 6 again") from None


def round_tables(view: View) -> list[Table]:
    """Empty where no decision is on disk."""
    rows = [row for row in view.results.get("rounds", []) if row["at"] in view.order]
    columns = ("round", "NMI with labels before", "ARI with them", "accepted %", "silhouette", "margin", "reading")
    lines = [
        (
            row["at"],
            *(number(row[name], 4) for name in ("nmi", "ari")),
            percent(row["accepted"]),
            *(number(row[name], 4) for name in ("silhouette", "margin")),
            f"{'no further round' if row['decision'] == 'stop' else 'may go on'}: {row['why']}",
        )
        for row in rows
    ]
    note = "No true labels in this table. The last column is what the rule in retrain.stop made of it."
    return [Table("Rounds", columns, tuple(lines), 1, (note,))] if lines else []
