"""The printed table says what the JSON says."""

from spkssl.bench.table import HEADER, table

ROW = {
    "case": "eer",
    "seconds": {"median": 1.234, "min": 1.0, "max": 2.0},
    "rate": {"median": 8_103_727.0, "unit": "scores per second"},
    "peak_mb": 321.6,
    "target": {"seconds": 2, "peak_mb": 1000},
    "met": True,
    "peers": [{"peer": "sklearn", "ratio": 2.5, "peak_mb": 900.0}],
    "elsewhere_seconds": {"wespeaker": 3.2},
}


def test_a_line_has_seconds_rate_memory_target_and_others():
    header, line = table([ROW]).splitlines()
    assert header.split("  ")[0] == HEADER[0]
    assert "1.23 (1-2)" in line and "8,103,727 scores" in line and " 322 " in line
    assert "<= 2 s, <= 1000 MB: met" in line
    assert line.endswith("sklearn 2.50 (900 MB), wespeaker 3.2 s elsewhere")


def test_a_missed_target_and_a_skipped_case_are_told():
    lines = table([{**ROW, "met": False}, {"case": "gpu", "skipped": "no device"}]).splitlines()
    assert "MISSED" in lines[1]
    assert "skipped: no device" in lines[2]


def test_columns_are_aligned():
    header, first, second = table([ROW, {**ROW, "case": "a longer name"}]).splitlines()
    assert header.index("per second") == first.index("8,103,727") == second.index("8,103,727")
