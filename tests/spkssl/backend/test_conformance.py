"""What every back-end promises, over the table: a new entry is tested at once."""

import importlib

import numpy as np
import pytest

from spkssl.backend import BACKENDS, config_of, configs, load_backend, make_backend
from spkssl.backend.vectors import RowError
from spkssl.errors import InputError
from spkssl.metrics.eer import eer

pytestmark = [
    pytest.mark.parametrize("name", BACKENDS),
    pytest.mark.filterwarnings("ignore:AS-norm. top_k 300 is clipped"),
]


def blobs(seed=0, num_classes=20, per_class=12, dim=8, dtype=np.float32):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), per_class)
    x = 2 * rng.normal(size=(num_classes, dim))[labels] + rng.normal(size=(len(labels), dim)) + 3
    return x.astype(dtype), labels


def fitted(name, dtype=np.float32):
    x, labels = blobs(dtype=dtype)
    return make_backend(name).fit(x, labels)


def task(dtype=np.float32):
    x, labels = blobs(seed=1, dtype=dtype)
    rng = np.random.default_rng(2)
    i, j = rng.integers(0, len(x), 400), rng.integers(0, len(x), 400)
    j[:100] = np.where(i[:100] % 12 == 0, i[:100] + 1, i[:100] - 1)
    return x, i, j, labels[i] == labels[j]


def test_fit_returns_the_backend_and_scores_are_finite(name):
    x, i, j, _ = task()
    scores = fitted(name).score(x[i], x[j])
    assert scores.shape == (400,) and scores.dtype == np.float64 and np.isfinite(scores).all()


def test_targets_score_higher(name):
    x, i, j, target = task()
    assert eer(fitted(name).score(x[i], x[j]), target).rate < 0.15


def test_pairs_by_index_are_scores_by_row(name):
    x, i, j, _ = task(np.float64)
    backend = fitted(name)
    side = backend.project(x)
    np.testing.assert_allclose(backend.pairs(side, side, i, j), backend.score(x[i], x[j]), atol=1e-9)


def test_pairs_do_not_depend_on_their_neighbours(name):
    x, i, j, _ = task()
    backend = fitted(name)
    side = backend.project(x)
    whole = backend.pairs(side, side, i, j)
    parts = (slice(0, 7), slice(7, 150), slice(150, 400))
    split = np.concatenate([backend.pairs(side, side, i[part], j[part]) for part in parts])
    np.testing.assert_allclose(split, whole, atol=1e-9)


def test_scores_of_single_utterances_are_symmetric(name):
    x, i, j, _ = task(np.float64)
    backend = fitted(name)
    np.testing.assert_allclose(backend.score(x[i], x[j]), backend.score(x[j], x[i]), atol=1e-9)


def test_order_of_training_rows_changes_nothing(name):
    x, labels = blobs(dtype=np.float64)
    order = np.random.default_rng(3).permutation(len(x))
    e, t = x[:30], x[100:130]
    shuffled = make_backend(name).fit(x[order], labels[order])
    np.testing.assert_allclose(shuffled.score(e, t), fitted(name, np.float64).score(e, t), atol=1e-8)


def test_names_of_classes_change_nothing(name):
    x, labels = blobs(dtype=np.float64)
    e, t = x[:30], x[90:120]
    renamed = make_backend(name).fit(x, (labels * 7 + 5).astype(np.int32))
    np.testing.assert_allclose(renamed.score(e, t), fitted(name, np.float64).score(e, t), atol=1e-8)


def test_saved_and_loaded_scores_are_the_same(name, tmp_path):
    x, i, j, _ = task()
    backend = fitted(name)
    backend.save(tmp_path / "model.npz")
    again = load_backend(tmp_path / "model.npz")
    assert again.config == backend.config
    np.testing.assert_array_equal(again.score(x[i], x[j]), backend.score(x[i], x[j]))


def test_strided_and_double_input_is_taken(name):
    x, i, j, _ = task()
    backend = fitted(name)
    wide = np.zeros((len(x), 2 * x.shape[1]))
    wide[:, ::2] = x
    np.testing.assert_allclose(backend.score(wide[i][:, ::2], wide[j][:, ::2]), backend.score(x[i], x[j]), atol=2e-3)


def test_input_is_not_changed(name):
    x, labels = blobs()
    before = x.copy()
    backend = make_backend(name).fit(x, labels)
    backend.score(x[:20], x[20:40])
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_embeddings_are_refused_with_their_row(name, bad):
    x, labels = blobs()
    backend = fitted(name)
    x[17, 3] = bad
    with pytest.raises(RowError, match="row 17: holds NaN or infinity"):
        backend.project(x)
    with pytest.raises(RowError, match="row 17"):
        make_backend(name).fit(x, labels)


def test_wrong_dimension_is_refused(name):
    with pytest.raises(InputError, match="fitted on dimension 8"):
        fitted(name).project(np.ones((3, 5), np.float32))


def test_no_trials_give_no_scores(name):
    x, _ = blobs()
    backend = fitted(name)
    side, none = backend.project(x), np.empty(0, np.int64)
    assert backend.pairs(side, side, none, none).shape == (0,)


def test_name_is_spelled_the_same_everywhere(name):
    module, _ = BACKENDS[name]
    assert module == f"spkssl.backend.{name}"
    assert config_of(name)().name == name and configs()[name] is config_of(name)
    assert importlib.import_module(module).Config is config_of(name)
