import numpy as np
import pytest

from spkssl.backend.pool import make_pool
from spkssl.errors import InputError
from spkssl.io.trials import Trials

KEYS, X = ["a", "b", "c"], np.array([[1.0, 0.0], [0.0, 3.0], [2.0, 2.0]])


def trials(enrol, test):
    enrol_names, i = np.unique(enrol, return_inverse=True)
    test_names, j = np.unique(test, return_inverse=True)
    return Trials(enrol_names.tolist(), test_names.tolist(), i.astype(np.int32), j.astype(np.int32), None)


def test_each_embedding_is_in_the_pool_once():
    pool = make_pool(trials(["a", "b", "a"], ["b", "c", "a"]), KEYS, X)
    assert len(pool.x) == 3 and sorted(pool.names) == ["a", "b", "c"]
    np.testing.assert_array_equal(pool.x[pool.enrol], X[[0, 1]])
    np.testing.assert_array_equal(pool.x[pool.test], X[[0, 1, 2]])


def test_models_are_averages_with_counts_and_single_ones_are_shared():
    models = {"m": ["a", "b"], "n": ["c"]}
    pool = make_pool(trials(["m", "n"], ["c", "a"]), KEYS, X, models)
    np.testing.assert_allclose(pool.x[pool.enrol[0]], [0.5, 1.5])
    assert pool.counts[pool.enrol].tolist() == [2, 1]
    assert pool.enrol[1] == pool.test[1]
    assert pool.names[pool.enrol[0]] == "m" and len(pool.x) == 3


def test_average_of_kaldi(golden):
    folder = golden / "backend"
    evaluation, speakers = np.load(folder / "eval.npz"), np.load(folder / "eval_spk.npz")
    models = {line.split()[0]: line.split()[1:] for line in (folder / "enroll_spk2utt").read_text().splitlines()}
    keys = list(evaluation)
    pool = make_pool(trials(list(models), keys[: len(models)]), keys, np.stack([evaluation[k] for k in keys]), models)
    ours = pool.x[pool.enrol]
    np.testing.assert_allclose(ours, np.stack([speakers[name] for name in sorted(models)]), atol=1e-6)


def test_missing_embedding_names_file_and_line():
    with pytest.raises(InputError, match=r"^list:2: there is no embedding of x"):
        make_pool(trials(["a", "b"], ["b", "x"]), KEYS, X, where="list")
    with pytest.raises(InputError, match=r"^list:1: there is no embedding of x"):
        make_pool(trials(["x", "b"], ["b", "b"]), KEYS, X, where="list")


def test_missing_member_of_a_model_names_the_model():
    with pytest.raises(InputError, match="enrolment m needs x"):
        make_pool(trials(["m"], ["a"]), KEYS, X, {"m": ["a", "x"]}, where="list")


def test_model_without_entry_is_missing_even_if_an_utterance_has_its_name():
    with pytest.raises(InputError, match="list:1: there is no embedding of a"):
        make_pool(trials(["a"], ["b"]), KEYS, X, {"m": ["a"]}, where="list")
