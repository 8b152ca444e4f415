"""Detection costs against tables, a loop over all thresholds, and Kaldi's script."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkssl.errors import InputError
from spkssl.metrics.dcf import act_dcf, bayes_threshold, effective_prior, min_dcf

SCORES = st.lists(st.integers(-4, 4), min_size=1, max_size=12)
PRIOR = st.sampled_from([0.001, 0.01, 0.05, 0.3, 0.5, 0.9])
COST = st.sampled_from([0.5, 1, 10])


@pytest.mark.parametrize(
    ("targets", "nontargets", "expected"),
    [
        ([1, 2, 3, 4], [0, 0.5, 1.5, 2.5], 0.5),
        ([1, 2, 3], [0, 1.5], 1 / 3),
        ([1, 2, 2, 3], [0, 1, 2], 0.75),
        ([2, 3, 5], [1, 2.5, 4, 0], 2 / 3),
        ([3, 4, 5], [0, 1], 0),
        ([1], [1], 1),
    ],
)
def test_table_at_one_percent(targets, nontargets, expected):
    assert min_dcf(targets, nontargets).cost == pytest.approx(expected)


@given(SCORES, SCORES, PRIOR, COST, COST)
def test_min_dcf_equals_a_loop_over_all_thresholds(targets, nontargets, prior, c_miss, c_fa):
    def cost(threshold):
        p_miss = sum(t < threshold for t in targets) / len(targets)
        p_fa = sum(n >= threshold for n in nontargets) / len(nontargets)
        return (c_miss * prior * p_miss + c_fa * (1 - prior) * p_fa) / min(c_miss * prior, c_fa * (1 - prior))

    found = min_dcf(targets, nontargets, prior, c_miss, c_fa)
    assert found.cost == pytest.approx(min(map(cost, [*targets, *nontargets, np.inf])))
    assert found.cost == pytest.approx(cost(found.threshold))
    assert found.p_miss == sum(t < found.threshold for t in targets) / len(targets)
    assert found.p_fa == sum(n >= found.threshold for n in nontargets) / len(nontargets)
    assert found.cost <= 1 + 1e-12


@given(SCORES, SCORES, PRIOR)
def test_kaldi_variant_equals_the_script_on_lists_with_targets_first(targets, nontargets, prior):
    samples = sorted([(s, 1) for s in targets] + [(s, 0) for s in nontargets], key=lambda sample: sample[0])
    misses = np.cumsum([label for _, label in samples]) / len(targets)
    false_alarms = 1 - np.cumsum([1 - label for _, label in samples]) / len(nontargets)
    cost = misses * prior + false_alarms * (1 - prior)
    found = min_dcf(targets, nontargets, prior, definition="kaldi")
    assert found.cost == pytest.approx(cost.min() / min(prior, 1 - prior))
    # Rounding may settle draws otherwise in the script.
    assert found.threshold in [samples[i][0] for i in np.flatnonzero(np.isclose(cost, cost.min()))]


def test_kaldi_variant_cannot_accept_everything():
    targets, nontargets = [1, 3], [2, 2, 0.5]
    assert min_dcf(targets, nontargets, 0.99).cost == pytest.approx(2 / 3)
    assert min_dcf([0, 3], [1, 1], 0.99).cost == 1
    assert min_dcf([0, 3], [1, 1], 0.99, definition="kaldi").cost == pytest.approx(0.5 * 99)
    # Rejecting the lowest of two targets is the script's way out; its threshold is that target's score.
    assert min_dcf([0, 0], [0], 0.9, definition="kaldi")[:2] == (pytest.approx(5.5), 0)


@given(SCORES, SCORES, PRIOR, st.sampled_from([0.5, 1, 8]), st.integers(-3, 3), st.integers(2, 4))
def test_order_maps_and_copies_do_not_change_min_dcf(targets, nontargets, prior, a, b, times):
    cost, threshold, p_miss, p_fa = min_dcf(targets, nontargets, prior)
    assert min_dcf(targets[::-1], nontargets[::-1], prior) == (cost, threshold, p_miss, p_fa)
    moved = min_dcf([a * s + b for s in targets], [a * s + b for s in nontargets], prior)
    assert moved == (cost, a * threshold + b, p_miss, p_fa)
    assert min_dcf(targets * times, nontargets * times, prior) == (cost, threshold, p_miss, p_fa)


def test_constant_scores_cost_one():
    assert min_dcf([2.0] * 3, [2.0] * 9).cost == 1


def test_actual_cost_at_the_bayes_threshold():
    assert bayes_threshold(0.01) == pytest.approx(4.595120)
    assert bayes_threshold(0.05) == pytest.approx(2.944439)
    cost, threshold, p_miss, p_fa = act_dcf([5, 4], [0, -3])
    assert (cost, p_miss, p_fa) == (pytest.approx(0.5), 0.5, 0)
    assert threshold == pytest.approx(4.595120)
    assert min_dcf([5, 4], [0, -3]).cost == 0


def test_actual_cost_can_exceed_one():
    assert act_dcf([9, 9], [9, -9]).cost == pytest.approx(0.99 * 0.5 / 0.01)


def test_effective_prior_asks_for_the_same_decisions():
    prior = effective_prior(0.01, c_miss=10, c_fa=1)
    assert prior == pytest.approx(0.1 / 1.09)
    assert bayes_threshold(prior) == pytest.approx(bayes_threshold(0.01, 10, 1))


@given(SCORES, SCORES, PRIOR, COST, COST)
def test_actual_cost_is_never_below_the_least(targets, nontargets, prior, c_miss, c_fa):
    least = min_dcf(targets, nontargets, prior, c_miss, c_fa).cost
    assert act_dcf(targets, nontargets, prior, c_miss, c_fa).cost >= least - 1e-12


@pytest.mark.parametrize("arguments", [{"p_target": 0}, {"p_target": 1.0}, {"c_miss": 0}, {"c_fa": -1}])
def test_senseless_parameters_are_errors(arguments):
    with pytest.raises(InputError):
        min_dcf([1], [0], **arguments)
    with pytest.raises(InputError):
        act_dcf([1], [0], **arguments)
