"""Against Kaldi 5.5: mean, LDA, PLDA and the scores of four systems."""

import gzip

import numpy as np
import pytest

from spkssl.backend.class_stats import stats_of
from spkssl.backend.cosine import Cosine
from spkssl.backend.kaldi_files import read_plda, write_plda
from spkssl.backend.lda import Affine, compute_lda
from spkssl.backend.plda import Config, Plda
from spkssl.backend.plda_em import train_plda
from spkssl.backend.plda_model import PldaModel
from spkssl.backend.pool import Request, make_pool
from spkssl.backend.vectors import length_normalise, mean_of
from spkssl.io.tables import read_lists
from spkssl.io.trials import Trials


@pytest.fixture(scope="module")
def kaldi(golden):
    folder = golden / "backend"
    train, evaluation = dict(np.load(folder / "train.npz")), dict(np.load(folder / "eval.npz"))
    return {
        "folder": folder,
        "x": np.stack(list(train.values())),
        "labels": np.unique([key[:6] for key in train], return_inverse=True)[1],
        "keys": list(evaluation),
        "eval": np.stack(list(evaluation.values())),
        "models": dict(np.load(folder / "models.npz")),
    }


def trials_of(kaldi, enrol):
    found = np.load(kaldi["folder"] / "trials.npz")
    enrol_names, i = np.unique(found[enrol], return_inverse=True)
    test_names, j = np.unique(found["test"], return_inverse=True)
    return Trials(enrol_names.tolist(), test_names.tolist(), i.astype(np.int32), j.astype(np.int32), found["target"])


def scores_of(kaldi, name):
    with gzip.open(kaldi["folder"] / "scores" / f"{name}.gz", "rt") as file:
        return np.array([float(line.split()[2]) for line in file])


def model_of(path):
    found = np.load(path)
    return PldaModel(found["mean"], found["transform"], found["psi"])


def relative(ours, theirs):
    """The largest error as a share of the largest value."""
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def same_signs(ours, theirs):
    """Rows of LDA and PLDA are defined up to sign."""
    return ours * np.sign((ours * theirs).sum(axis=1))[:, None]


def score(kaldi, backend, enrol="enroll_utt", models=None):
    trials = trials_of(kaldi, enrol)
    pool = make_pool([Request(trials, models)], kaldi["keys"], kaldi["eval"])
    side = backend.project(pool.x, pool.counts)
    return backend.pairs(side, side, pool.sides[0].enrol[trials.enrol], pool.sides[0].test[trials.test])


def test_mean_is_kaldis(kaldi):
    np.testing.assert_allclose(mean_of(kaldi["x"]), kaldi["models"]["mean"], rtol=1e-12)


@pytest.mark.parametrize(("name", "factor"), [("lda", 0.0), ("lda_tcf0.1", 0.1)])
def test_lda_is_kaldis_up_to_row_signs(kaldi, name, factor):
    stats = stats_of(kaldi["x"], kaldi["labels"], lambda rows: rows - kaldi["models"]["mean"])
    affine, _ = compute_lda(stats, 32, factor)
    theirs = kaldi["models"][name]
    assert relative(same_signs(affine.matrix, theirs), theirs) < 1e-6


@pytest.mark.parametrize(("name", "lda"), [("plda", True), ("plda_nolda", False)])
def test_plda_is_kaldis_up_to_row_signs(kaldi, name, lda):
    affine = Affine(kaldi["models"]["lda"].astype(np.float64))

    def chain(rows):
        rows = rows - kaldi["models"]["mean"]
        return length_normalise(affine(rows) if lda else rows)

    model, objective = train_plda(stats_of(kaldi["x"], kaldi["labels"], chain))
    theirs = model_of(kaldi["folder"] / f"{name}.npz")
    assert relative(model.mean, theirs.mean) < 1e-6
    assert relative(same_signs(model.transform, theirs.transform), theirs.transform) < 1e-6
    assert relative(model.psi, theirs.psi) < 1e-6
    assert (np.diff(objective) >= 0).all()


def test_cosine_scores_are_kaldis(kaldi):
    scores = score(kaldi, Cosine().fit(kaldi["x"]))
    assert np.abs(scores - scores_of(kaldi, "cosine_centred")).max() < 1e-6


def test_plda_scores_without_lda_are_kaldis(kaldi):
    backend = Plda(Config(transform="none")).fit(kaldi["x"], kaldi["labels"])
    assert np.abs(score(kaldi, backend) - scores_of(kaldi, "nolda_plda")).max() < 1e-4


def test_plda_scores_after_lda_are_kaldis(kaldi):
    backend = Plda(Config(dim=32)).fit(kaldi["x"], kaldi["labels"])
    assert np.abs(score(kaldi, backend) - scores_of(kaldi, "lda_plda")).max() < 1e-4


def test_scores_of_several_enrolment_utterances_are_kaldis(kaldi):
    backend = Plda(Config(dim=32)).fit(kaldi["x"], kaldi["labels"])
    models = read_lists(kaldi["folder"] / "enroll_spk2utt")
    ours = score(kaldi, backend, "enroll_spk", models)
    assert np.abs(ours - scores_of(kaldi, "multi_numutts")).max() < 1e-4


def test_scores_with_kaldis_own_models_are_kaldis(kaldi, tmp_path):
    write_plda(tmp_path / "plda", model_of(kaldi["folder"] / "plda.npz"))
    affine = Affine(kaldi["models"]["lda"].astype(np.float64))
    backend = Plda().restore(kaldi["models"]["mean"], affine, read_plda(tmp_path / "plda"))
    assert np.abs(score(kaldi, backend) - scores_of(kaldi, "lda_plda")).max() < 1e-4
