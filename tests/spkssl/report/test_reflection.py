import json

import numpy as np
import pytest

from spkssl.io.tables import write_table
from spkssl.report.gating import Trained
from spkssl.report.reflection import reflection_row

# Cluster 0: x x y, cluster 1: y y z, and h is left out.
TRUTH = dict(zip("abcdefh", "xxyyyzz", strict=True))
GIVEN = dict(zip("abcdefh", (0, 0, 0, 1, 1, 1, -1), strict=True))


def files(folder, columns, lines=(), truth=True):
    np.savez(folder / "utterances.npz", utt=np.array([b"a", b"b", b"c", b"d", b"e", b"f"]), **columns)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_table(folder / "utt2cluster", GIVEN)
    write_table(folder / "utt2spk", TRUTH)
    paths = folder / "utt2cluster", folder / "utt2spk" if truth else None
    return Trained(folder / "utterances.npz", folder / "metrics.jsonl", *paths)


def test_reflection_tells_how_its_labels_began_and_ended(tmp_path):
    columns = {"label": np.array([0, 0, 1, 1, 1, 3]), "clean": np.float32([1, 1, 0.5, 1, 1, 0.5])}
    lines = [
        {"step": 5, "epoch": 0, "active_classes": 4, "changed_labels": 0.0},
        {"step": 8, "epoch": 1, "active_classes": 3.5, "changed_labels": 0.1},
        {"step": 10, "epoch": 1, "active_classes": 3, "changed_labels": 0.2},
    ]
    row = reflection_row(files(tmp_path, columns, lines))
    assert (row["classes"], row["active"], row["changed"]) == (2, 3, pytest.approx(2 / 6))
    assert row["speakers"] == 3  # of whom two have a cluster of their own at first
    assert (row["nmi"], row["purity"], row["given_purity"]) == (pytest.approx(1), 1, pytest.approx(4 / 6))
    assert 0 < row["given_nmi"] < 1
    assert row["clean"] == pytest.approx(5 / 6) and row["effective"] == pytest.approx(25 / 4.5 / 6)
    assert row["clean_right"] == pytest.approx(5 / 6) and row["clean_wrong"] is None
    assert [epoch["active_classes"] for epoch in row["epochs"]] == [4, 3]
    assert row["epochs"][1]["changed_labels"] == 0.2


def test_reflection_without_true_labels_still_counts_classes(tmp_path):
    columns = {"label": np.array([0, 0, 1, 1, 1, 1]), "clean": np.ones(6, np.float32)}
    row = reflection_row(files(tmp_path, columns, truth=False))
    assert (row["active"], row["nmi"], row["clean_wrong"], row["epochs"]) == (2, None, None, [])
    assert row["speakers"] is None


def test_utterances_that_clustering_left_out_count_nowhere(tmp_path):
    columns = {"label": np.array([0, 0, 1, 1, 1, -1]), "clean": np.float32([1, 1, 1, 1, 1, 0])}
    found = files(tmp_path, columns)
    write_table(tmp_path / "utt2cluster", {**GIVEN, "f": -1})
    row = reflection_row(found)
    assert (row["n_utts"], row["active"], row["nmi"], row["clean"]) == (5, 2, pytest.approx(1), 1)
    assert row["speakers"] == 2


def test_methods_that_tell_nothing_or_something_else_have_no_row(tmp_path):
    absent = Trained(tmp_path / "none.npz", tmp_path / "metrics.jsonl")
    assert reflection_row(absent) is None
    assert reflection_row(files(tmp_path, {"weight": np.ones(6)})) is None
