import numpy as np
import pytest

from spkssl.backend.pool import Request, make_pool
from spkssl.errors import InputError
from spkssl.io.trials import Trials

KEYS, X = ["a", "b", "c"], np.array([[1.0, 0.0], [0.0, 3.0], [2.0, 2.0]])


def trials(enrol, test):
    enrol_names, i = np.unique(enrol, return_inverse=True)
    test_names, j = np.unique(test, return_inverse=True)
    return Trials(enrol_names.tolist(), test_names.tolist(), i.astype(np.int32), j.astype(np.int32), None)


def pool_of(trials, keys=KEYS, x=X, models=None, where="trials"):
    pool = make_pool([Request(trials, models, where)], keys, x)
    return pool, *pool.sides[0]


def test_each_embedding_is_in_the_pool_once():
    pool, enrol, test = pool_of(trials(["a", "b", "a"], ["b", "c", "a"]))
    assert len(pool.x) == 3 and sorted(pool.names) == ["a", "b", "c"]
    np.testing.assert_array_equal(pool.x[enrol], X[[0, 1]])
    np.testing.assert_array_equal(pool.x[test], X[[0, 1, 2]])


def test_models_are_averages_with_counts_and_single_ones_are_shared():
    models = {"m": ["a", "b"], "n": ["c"]}
    pool, enrol, test = pool_of(trials(["m", "n"], ["c", "a"]), models=models)
    np.testing.assert_allclose(pool.x[enrol[0]], [0.5, 1.5])
    assert pool.counts[enrol].tolist() == [2, 1]
    assert enrol[1] == test[1]
    assert pool.names[enrol[0]] == "m" and len(pool.x) == 3


def test_average_of_kaldi(golden):
    folder = golden / "backend"
    evaluation, speakers = np.load(folder / "eval.npz"), np.load(folder / "eval_spk.npz")
    models = {line.split()[0]: line.split()[1:] for line in (folder / "enroll_spk2utt").read_text().splitlines()}
    keys = list(evaluation)
    x = np.stack([evaluation[key] for key in keys])
    pool, enrol, _ = pool_of(trials(list(models), keys[: len(models)]), keys, x, models)
    ours = pool.x[enrol]
    np.testing.assert_allclose(ours, np.stack([speakers[name] for name in sorted(models)]), atol=1e-6)


def test_missing_embedding_names_file_and_line():
    with pytest.raises(InputError, match=r"^list:2: there is no embedding of x"):
        pool_of(trials(["a", "b"], ["b", "x"]), where="list")
    with pytest.raises(InputError, match=r"^list:1: there is no embedding of x"):
        pool_of(trials(["x", "b"], ["b", "b"]), where="list")


def test_missing_member_of_a_model_names_the_model():
    with pytest.raises(InputError, match="enrolment m needs x"):
        pool_of(trials(["m"], ["a"]), models={"m": ["a", "x"]}, where="list")


def test_model_without_entry_is_missing_even_if_an_utterance_has_its_name():
    with pytest.raises(InputError, match="list:1: there is no embedding of a"):
        pool_of(trials(["a"], ["b"]), models={"m": ["a"]}, where="list")


def test_lists_share_their_embeddings():
    first, second = trials(["a", "b"], ["b", "c"]), trials(["c", "m"], ["a", "a"])
    pool = make_pool([Request(first), Request(second, {"m": ["b"], "c": ["a", "c"]})], KEYS, X)
    assert len(pool.x) == 4  # a, b, c and the average of a and c
    assert pool.sides[1].enrol[1] == pool.sides[0].enrol[1]
    assert pool.counts.tolist() == [1, 1, 1, 2]


def test_names_in_no_trial_need_no_embedding():
    unused = trials(["a", "x"], ["b", "c"]).take(np.array([0]))
    _, enrol, _ = pool_of(unused)
    assert enrol.tolist() == [0, -1]
