import json

import numpy as np
import pytest

from spkssl.errors import InputError
from spkssl.io.tables import write_table
from spkssl.metrics.clusters import majority_class, purity
from spkssl.report.gating import Trained, gate_row

# Cluster 0: x x y, cluster 1: y y z, and h is left out.
TRUTH = dict(zip("abcdefh", "xxyyyzz", strict=True))
GIVEN = dict(zip("abcdefh", (0, 0, 0, 1, 1, 1, -1), strict=True))


def files(folder, columns, lines=(), truth=True, given=True):
    np.savez(folder / "utterances.npz", utt=np.array([b"a", b"b", b"c", b"d", b"e", b"f"]), **columns)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_table(folder / "utt2cluster", GIVEN)
    write_table(folder / "utt2spk", TRUTH)
    paths = folder / "utt2cluster" if given else None, folder / "utt2spk" if truth else None
    return Trained(folder / "utterances.npz", folder / "metrics.jsonl", *paths)


def gated(accepted=(1, 0, 0, 1, 1, 1), label=(0, -1, 1, 1, 1, 1), loss=(0.1, 2.0, 3.0, 0.2, 0.3, 0.4)):
    return {"loss": np.float32(loss), "accepted": np.array(accepted, bool), "label": np.array(label)}


def test_majority_class_of_each_cluster_ties_to_the_lowest():
    assert majority_class(np.array([1, 1, 0, 2, 0, 5]), np.array([0, 0, 0, 1, 1, 3])).tolist() == [1, 0, -1, 5]
    assert majority_class(np.array([1, 2]), np.array([-1, -1])).tolist() == []


def test_precisions_of_accepted_rejected_and_corrected_are_those_counted_by_hand(tmp_path):
    row = gate_row(files(tmp_path, gated()))
    # Wrong: c in the cluster of x, f in that of y. Accepted are a, d, e, f; c is moved to cluster 1, that of y.
    assert (row["n_utts"], row["unvisited"]) == (6, 0)
    assert row["accepted"] == pytest.approx(4 / 6) and row["corrected"] == pytest.approx(1 / 6)
    expected = {"given": 4 / 6, "accepted": 3 / 4, "rejected": 1 / 2, "corrected": 1, "before_correction": 0}
    assert row["precision"] == pytest.approx(expected)
    assert row["precision"]["given"] == pytest.approx(purity([*"xxyyyz"], [0, 0, 0, 1, 1, 1]))
    # Of 8 pairs of a wrong and a right label, c's loss is above all 4, f's above all but b's.
    assert row["loss_auc"] == 7 / 8


def test_utterances_never_visited_are_neither_accepted_nor_rejected(tmp_path):
    columns = gated((1, 0, 0, 1, 1, 0), (0, -1, -1, 1, 1, -1), (0.1, 2.0, 3.0, 0.2, 0.3, np.inf))
    row = gate_row(files(tmp_path, columns))
    assert (row["unvisited"], row["accepted"]) == (1, 3 / 5)
    assert (row["precision"]["accepted"], row["precision"]["rejected"]) == (1, 1 / 2)
    assert row["precision"]["corrected"] is None


def test_without_true_or_given_labels_there_are_shares_and_no_precision(tmp_path):
    for part in ({"truth": False}, {"given": False}):
        row = gate_row(files(tmp_path, gated(), **part))
        assert row["accepted"] == pytest.approx(4 / 6) and row["loss_auc"] is None
        assert set(row["precision"].values()) == {None}


def test_epochs_weigh_lines_by_their_steps_and_count_idle_ones(tmp_path):
    lines = [
        {"step": 4, "epoch": 0, "accepted": 1.0, "idle": 0.0},
        {"step": 6, "epoch": 0, "accepted": 0.4, "idle": 0.5},
        {"step": 9, "epoch": 1, "accepted": 0.0, "idle": 0.666667},
    ]
    row = gate_row(files(tmp_path, gated(), lines))
    first, second = row["epochs"]
    assert (first["steps"], first["idle_steps"], second["steps"], second["idle_steps"]) == (6, 1, 3, 2)
    assert first["accepted"] == pytest.approx((4 * 1 + 2 * 0.4) / 6) and second["accepted"] == 0
    assert (row["steps"], row["idle_steps"]) == (9, 3) and first["corrected"] is None


def test_epochs_without_the_scalars_of_a_gate_say_so(tmp_path):
    row = gate_row(files(tmp_path, gated(), [{"step": 4, "epoch": 0, "loss": 1.0}]))
    assert row["idle_steps"] is None and row["epochs"][0]["accepted"] is None


def test_utterances_that_clustering_left_out_count_nowhere(tmp_path):
    columns = gated((1, 0, 0, 1, 1, 0), (0, -1, -1, 1, 1, -1), (0.1, 2.0, 3.0, 0.2, 0.3, np.inf))
    found = files(tmp_path, columns)
    write_table(tmp_path / "utt2cluster", {**GIVEN, "f": -1})
    row = gate_row(found)
    assert (row["n_utts"], row["unvisited"], row["accepted"]) == (5, 0, 3 / 5)


def test_methods_that_tell_nothing_or_something_else_have_no_row(tmp_path):
    absent = Trained(tmp_path / "none.npz", tmp_path / "metrics.jsonl")
    assert gate_row(absent) is None
    other = files(tmp_path, {"weight": np.ones(6)})
    assert gate_row(other) is None


def test_labels_of_other_utterances_and_torn_tables_are_named(tmp_path):
    found = files(tmp_path, gated())
    write_table(tmp_path / "utt2cluster", {"a": 0, "b": 0})
    with pytest.raises(InputError, match="utt2cluster: says nothing of c, d, e .*run stages 5 and 6 again"):
        gate_row(found)
    (tmp_path / "utterances.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="utterances.npz: cannot be read"):
        gate_row(Trained(tmp_path / "utterances.npz", tmp_path / "metrics.jsonl"))
