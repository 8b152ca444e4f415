"""Canonical numbers, centres, and the files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkssl.cluster.labels import canonical, centroids, count, read_labels, write_labels
from spkssl.errors import InputError

partitions = st.lists(st.integers(-1, 6), min_size=1, max_size=40)


def test_biggest_cluster_is_0_and_ties_go_to_the_first_utterance():
    np.testing.assert_array_equal(canonical([7, 5, 9, 9, -1, 5, 3]), [2, 0, 1, 1, -1, 0, 3])


@given(partitions)
def test_canonical_is_the_same_partition_in_order_of_size(labels):
    out, labels = canonical(labels), np.array(labels)
    np.testing.assert_array_equal(out < 0, labels < 0)
    kept = labels >= 0
    pairs = {(a, b) for a, b in zip(labels[kept], out[kept], strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == count(out)
    sizes = np.bincount(out[kept])
    assert (np.diff(sizes) <= 0).all()
    first = [int(np.flatnonzero(out == k)[0]) for k in range(len(sizes))]
    assert all(a < b for k, (a, b) in enumerate(zip(first, first[1:])) if sizes[k] == sizes[k + 1])


@given(partitions)
def test_canonical_of_canonical_is_itself(labels):
    once = canonical(labels)
    np.testing.assert_array_equal(canonical(once), once)


def test_centroids_are_plain_means_of_unit_rows_in_label_order():
    x = np.array([[2, 0], [0, 5], [0, 1], [3, 4]], np.float32)
    np.testing.assert_allclose(centroids(x, np.array([1, 0, 0, -1])), [[0, 1], [1, 0]])
    np.testing.assert_allclose(centroids(x, np.array([0, 0, 0, 0])), [[0.4, 0.7]])


def test_file_holds_every_utterance(tmp_path):
    path = tmp_path / "utt2cluster"
    write_labels(path, ["b", "a", "c"], np.array([0, 1, -1]))
    assert path.read_text() == "a 1\nb 0\nc -1\n"
    assert read_labels(path) == {"a": 1, "b": 0}


@pytest.mark.parametrize("value", ["x", "-2", "1.5"])
def test_label_that_is_no_number_is_named(tmp_path, value):
    (tmp_path / "utt2cluster").write_text(f"a 0\nb {value}\n")
    with pytest.raises(InputError, match="label of b is"):
        read_labels(tmp_path / "utt2cluster")
