"""The summary says what the single metrics say."""

import numpy as np

from spkssl.metrics.cllr import cllr, min_cllr
from spkssl.metrics.dcf import act_dcf, min_dcf
from spkssl.metrics.det import threshold_at_far
from spkssl.metrics.eer import eer
from spkssl.metrics.summary import summary


def test_summary_holds_each_metric():
    rng = np.random.default_rng(0)
    is_target = rng.random(500) < 0.3
    scores = rng.standard_normal(500) + 2 * is_target
    found = summary(scores, is_target)
    assert (found.n_target, found.n_nontarget) == (is_target.sum(), 500 - is_target.sum())
    assert found.eer == eer(scores, is_target)
    assert found.min_dcf == {p: min_dcf(scores, is_target, p) for p in (0.01, 0.05)}
    assert found.act_dcf == {p: act_dcf(scores, is_target, p) for p in (0.01, 0.05)}
    assert (found.cllr, found.min_cllr) == (cllr(scores, is_target), min_cllr(scores, is_target))
    assert found.at_far == {far: threshold_at_far(scores, is_target, far) for far in (0.01, 0.001)}


def test_definition_and_priors_can_be_chosen():
    found = summary([1, 2, 2, 3], [0, 1, 2], p_targets=(0.5,), fars=(), definition="kaldi")
    assert found.eer == (0.5, 2)
    assert list(found.min_dcf) == [0.5] and found.at_far == {}
