import resource
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spkssl.errors import InputError
from spkssl.io.scores import read_scores, write_scores
from spkssl.io.trials import Trials


def make(count, rng, labelled=True):
    enrol, test = [f"spk{i}" for i in range(7)], [f"utt{i}" for i in range(11)]
    index = rng.integers(0, 7, count).astype(np.int32), rng.integers(0, 11, count).astype(np.int32)
    return Trials(enrol, test, *index, rng.random(count) < 0.5 if labelled else None)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 30), elements=st.floats(-(2.0**99), 2.0**99, width=32)), st.booleans())
def test_float32_scores_come_back_exactly(tmp_path_factory, scores, labelled):
    path = tmp_path_factory.mktemp("s") / "a.scores"
    trials = make(len(scores), np.random.default_rng(0), labelled)
    write_scores(path, trials, scores)
    got, values = read_scores(path)
    assert (values.astype(np.float32) == scores).all()
    assert [got.name(i) for i in range(len(got))] == [trials.name(i) for i in range(len(trials))]
    assert got.target is None if not labelled else (got.target == trials.target).all()


def test_lines_are_those_of_the_field(tmp_path):
    trials = Trials(["a"], ["x", "y"], np.array([0, 0]), np.array([1, 0]), np.array([True, False]))
    write_scores(tmp_path / "s", trials, np.array([0.5, -0.25]))
    assert (tmp_path / "s").read_text() == "a y 0.5 target\na x -0.25 nontarget\n"


def test_kaldis_score_file_is_read(tmp_path):
    (tmp_path / "s").write_text("a x -12.5\na y 1e-05\n")
    trials, scores = read_scores(tmp_path / "s")
    assert scores.tolist() == [-12.5, 1e-05] and trials.target is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a x 0.5\na y high\n", "s:2: got 'a y high', expected `enrol test score`"),
        ("a x 0.5\na y nan\n", "s:2: score nan is not finite"),
        ("a x 0.5\na y 0.5 target\n", "s:2: "),
        ("1 2 0.5\n3 4\n5 6 7 8\n", "s:2: got '3 4'"),
        ("a x 0.5 target\na y 0.5 yes\n", "s:2: got 'a y 0.5 yes'"),
        ("a x\n", "s:1: "),
    ],
)
def test_malformed_line_is_named(tmp_path, content, message):
    (tmp_path / "s").write_text(content)
    with pytest.raises(InputError, match=message):
        read_scores(tmp_path / "s")


def test_score_that_is_not_finite_is_refused_with_its_trial(tmp_path):
    trials = make(3, np.random.default_rng(0))
    with pytest.raises(InputError, match=f"trial {trials.name(1)} is nan"):
        write_scores(tmp_path / "s", trials, np.array([0, np.nan, 1]))
    assert list(tmp_path.iterdir()) == []


def test_one_score_per_trial(tmp_path):
    with pytest.raises(ValueError, match="one score per trial"):
        write_scores(tmp_path / "s", make(3, np.random.default_rng(0)), np.zeros(2))


@pytest.mark.slow
def test_ten_million_lines_are_read_in_bounded_time_and_memory(tmp_path):
    rng, count = np.random.default_rng(0), 10_000_000
    names = [f"id1{i % 1251:04d}-{i:011x}-{i % 400:05d}" for i in range(100_000)]
    index = rng.integers(0, 5000, count, dtype=np.int32), rng.integers(0, len(names), count, dtype=np.int32)
    write_scores(tmp_path / "s", Trials(names[:5000], names, *index, rng.random(count) < 0.1), rng.random(count))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    trials, scores = read_scores(tmp_path / "s")
    # Eight seconds on a quiet core; the rest is for a busy machine.
    assert len(trials) == len(scores) == count and time.perf_counter() - start < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1.5e6  # KB
