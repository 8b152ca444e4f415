"""The door to faiss: threads and neighbours."""

import os
import subprocess
import sys

import numpy as np
import pytest

from spkssl.cluster.search import neighbours, thread_limit
from spkssl.cluster.vectors import unit_rows


@pytest.mark.parametrize("value, expected", [("1", 1), ("1,4", 1), (" 1", 1), ("9999", None), ("", None), ("x", None)])
def test_threads_are_those_of_the_environment_or_the_cores(monkeypatch, value, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert thread_limit() == (expected or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize("asked, most", [(None, 1), (8, 1)])
def test_faiss_never_takes_more_threads_than_allowed(asked, most):
    code = "import faiss, sys\n"
    code += f"faiss.omp_set_num_threads({asked})\n" if asked else ""
    code += "from spkssl.cluster.search import faiss as door\nprint(door().omp_get_max_threads())"
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert int(said) <= most


def test_neighbours_are_those_of_brute_force():
    x = unit_rows(np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32))
    product = x @ x.T
    np.fill_diagonal(product, -np.inf)
    label, value = neighbours(x, 7)
    np.testing.assert_array_equal(label, np.argsort(-product, axis=1)[:, :7])
    np.testing.assert_allclose(value, -np.sort(-product, axis=1)[:, :7], atol=1e-6)


def test_no_row_is_its_own_neighbour_even_among_copies():
    label, _ = neighbours(np.ones((30, 3), np.float32) / np.sqrt(np.float32(3)), 5)
    assert label.shape == (30, 5) and (label != np.arange(30)[:, None]).all()


def test_inverted_file_finds_most_neighbours(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 16))[rng.integers(0, 100, 3000)] + 0.5 * rng.normal(size=(3000, 16))
    x = unit_rows(x.astype(np.float32))
    exact, _ = neighbours(x, 10)
    monkeypatch.setattr("spkssl.cluster.search._EXACT", 1000)
    near, _ = neighbours(x, 10)
    assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(exact, near, strict=True)]) > 0.8
