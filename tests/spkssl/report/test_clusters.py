import json

import pytest

from spkssl.errors import InputError
from spkssl.io.tables import write_table
from spkssl.report.clusters import cluster_row, merged

TRUTH = {"a": "x", "b": "x", "c": "y", "d": "y"}


def write(folder, clusters):
    write_table(folder / "utt2cluster", clusters)
    return folder / "utt2cluster"


def reference(folder):
    write_table(folder / "utt2spk", TRUTH)
    return folder / "utt2spk"


def test_row_holds_the_closed_form_of_a_partition_with_one_item_misplaced(tmp_path):
    row = cluster_row(write(tmp_path, {"a": 0, "b": 0, "c": 0, "d": 1}), reference(tmp_path))
    assert row["nmi"] == pytest.approx(0.343711, abs=1e-6)
    assert (row["purity"], row["accuracy"], row["ari"]) == (0.75, 0.75, 0)
    assert row["purity_by_cluster"] == pytest.approx(0.833333, abs=1e-6)
    assert (row["k"], row["left_out"], row["n_speakers"]) == (2, 0, 2)


def test_left_out_utterances_are_counted_whether_they_are_marked_or_missing(tmp_path):
    marked = cluster_row(write(tmp_path / "1", {"a": 0, "b": 0, "c": 1, "d": -1}), reference(tmp_path))
    absent = cluster_row(write(tmp_path / "2", {"a": 0, "b": 0, "c": 1}), reference(tmp_path))
    assert marked == absent
    assert (marked["left_out"], marked["n_utts"], marked["nmi"]) == (1, 4, 1)
    assert marked["with_left_out"]["nmi"] < 1 and marked["with_left_out"]["purity"] == 1


def test_without_true_labels_there_are_sizes_and_what_clustering_said_but_no_nmi(tmp_path):
    quality = {"silhouette": 0.5, "margin": None, "stability": {"ari": 0.7, "nmi": 0.8}}
    labels = write(tmp_path, {"a": 0, "b": 0, "c": 1, "d": -1})
    (tmp_path / "info.json").write_text(json.dumps({"algorithm": {"name": "ahc"}, "quality": quality}))
    row = cluster_row(labels, None)
    assert row["method"] == "ahc" and "nmi" not in row and "true_labels" not in row
    assert row["label_free"] == {"silhouette": 0.5, "stability_ari": 0.7, "stability_nmi": 0.8}
    assert (row["smallest"], row["largest"], row["singletons"], row["size_histogram"]) == (1, 2, 1, [1, 1])


def test_truth_does_not_outlive_its_labels_and_others_columns_stay(tmp_path):
    labels = write(tmp_path, TRUTH | dict.fromkeys(TRUTH, 0))
    old = cluster_row(labels, reference(tmp_path)) | {"theirs": 1}
    new = merged(old, cluster_row(labels, None))
    assert new == {**cluster_row(labels, None), "theirs": 1}


@pytest.mark.parametrize(
    ("clusters", "message"),
    [({"a": "one"}, "cluster 'one' of a is not a number"), ({"a": 0, "q": 1}, "has no speaker of q")],
)
def test_broken_labels_are_named(tmp_path, clusters, message):
    with pytest.raises(InputError, match=message):
        cluster_row(write(tmp_path, clusters), reference(tmp_path))
