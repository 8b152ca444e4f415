import json

import pytest

from spkssl.errors import InputError
from spkssl.report.rounds import round_row, round_tables
from spkssl.report.run import View

VALUES = {"nmi": 0.95, "ari": 0.91234, "accepted": 0.5, "silhouette": 0.25, "margin": None}


def write(folder, **more):
    found = {"decision": "stop", "why": "ARI 0.91 >= 0.9", "rule": {"rule": "stability"}, "values": VALUES, **more}
    (folder / "stop.json").write_text(json.dumps(found))
    return folder / "stop.json"


def test_decision_and_its_values_become_a_row_and_a_line(tmp_path):
    row = {"at": "round2", **round_row(write(tmp_path))}
    assert (row["decision"], row["rule"], row["ari"], row["margin"]) == ("stop", "stability", 0.91234, None)
    view = View(tmp_path, {"results": [], "clusters": [], "rounds": [row, {"at": "round3"}]}, ("round2",), {})
    (table,) = round_tables(view)
    (line,) = table.rows
    assert line == ("round2", "0.9500", "0.9123", "50.00", "0.2500", "-", "no further round: ARI 0.91 >= 0.9")


def test_runs_without_decisions_have_no_table(tmp_path):
    assert round_row(tmp_path / "stop.json") is None
    assert round_tables(View(tmp_path, {"results": [], "clusters": []}, ("round1",), {})) == []


def test_broken_decision_is_named(tmp_path):
    with pytest.raises(InputError, match="stop.json: is no decision of a round .KeyError: 'nmi'"):
        round_row(write(tmp_path, values={}))
    (tmp_path / "stop.json").write_text("{")
    with pytest.raises(InputError, match="is no decision of a round"):
        round_row(tmp_path / "stop.json")
