"""The equal error rate in every definition, against tables, oracles and the properties each must have."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from spkssl.errors import InputError
from spkssl.metrics.eer import EER, eer

SCORES = st.lists(st.integers(-4, 4), min_size=1, max_size=12)

# targets, non-targets: kaldi, its threshold, staircase, wespeaker, roc_max, speechbrain, rocch
TABLE = [
    ([1, 2, 3, 4], [0, 0.5, 1.5, 2.5], 0.25, 2, 0.25, 0.25, 0.25, 0.25, 0.25),
    ([1, 2, 3], [0, 1.5], 1 / 3, 2, 1 / 3, 1 / 3, 0.5, 5 / 12, 0.2),
    ([1, 2, 2, 3], [0, 1, 2], 0.5, 2, 0.3, 1 / 3, 1 / 3, 7 / 24, 0.3),
    ([2, 3, 5], [1, 2.5, 4, 0], 1 / 3, 3, 1 / 3, 1 / 3, 1 / 3, 7 / 24, 2 / 7),
    ([3, 4, 5], [0, 1], 0, 3, 0, 0, 0, 0, 0),
]


@pytest.mark.parametrize("row", TABLE)
def test_table_of_definitions(row):
    targets, nontargets, kaldi, kaldi_threshold, *others = row
    assert eer(targets, nontargets, "kaldi") == (pytest.approx(kaldi), kaldi_threshold)
    names = ("staircase", "wespeaker", "roc_max", "speechbrain", "rocch")
    assert [eer(targets, nontargets, name).rate for name in names] == pytest.approx(others)


def points(targets, nontargets):
    for threshold in [*sorted({*targets, *nontargets}), np.inf]:
        misses, false_alarms = sum(t < threshold for t in targets), sum(n >= threshold for n in nontargets)
        yield Fraction(misses, len(targets)), Fraction(false_alarms, len(nontargets)), threshold


def interpolate(curve):
    before = [p for p in curve if p[0] < p[1]][-1]
    after = next(p for p in curve if p[0] >= p[1])
    d_a, d_b = before[0] - before[1], after[0] - after[1]
    return before[0] - d_a / (d_b - d_a) * (after[0] - before[0])


@given(SCORES, SCORES)
def test_staircase_equals_the_oracle_with_ties(targets, nontargets):
    assert eer(targets, nontargets).rate == float(interpolate(list(points(targets, nontargets))))


@given(SCORES, SCORES)
def test_kaldi_equals_a_loop_over_the_targets(targets, nontargets):
    t, n = sorted(targets), sorted(nontargets)
    p = 0
    while p < len(t) - 1:
        q = max(0, len(n) - 1 - int(len(n) * p * 1.0 / len(t)))
        if n[q] < t[p]:
            break
        p += 1
    assert eer(targets, nontargets, "kaldi") == (p / len(t), t[p])


@given(SCORES, SCORES)
def test_wespeaker_equals_running_counts_with_targets_first(targets, nontargets):
    samples = sorted([(s, 0) for s in targets] + [(s, 1) for s in nontargets])
    curve, misses, rejected = [(Fraction(0), Fraction(1))], 0, 0
    for _, is_nontarget in samples:
        misses, rejected = misses + 1 - is_nontarget, rejected + is_nontarget
        curve.append((Fraction(misses, len(targets)), 1 - Fraction(rejected, len(nontargets))))
    assert eer(targets, nontargets, "wespeaker").rate == float(interpolate(curve))


@given(SCORES, SCORES)
def test_roc_max_is_the_larger_error_at_the_least_gap(targets, nontargets):
    curve = list(points(targets, nontargets))[::-1]
    p_miss, p_fa, threshold = min(curve, key=lambda p: abs(p[0] - p[1]))
    assert eer(targets, nontargets, "roc_max") == (float(max(p_miss, p_fa)), threshold)


@given(SCORES, SCORES)
def test_sklearn_variant_equals_sklearn_where_no_gaps_tie(targets, nontargets):
    fpr, tpr, _ = roc_curve([1] * len(targets) + [0] * len(nontargets), targets + nontargets)
    gaps = np.abs(1 - tpr - fpr)
    nearest = np.isclose(gaps, gaps.min())  # rounding decides between equal gaps in the script
    allowed = np.maximum(1 - tpr, fpr)[nearest]
    assert np.isclose(eer(targets, nontargets, "sklearn").rate, allowed).any()


def test_sklearn_variant_loses_the_middle_of_a_run():
    targets, nontargets = [0, 1, 2, 3], [-1, 4]
    assert eer(targets, nontargets, "roc_max").rate == 0.5
    assert eer(targets, nontargets, "sklearn").rate == 1


@given(SCORES, SCORES)
def test_speechbrain_equals_its_loop_over_scores_and_midpoints(targets, nontargets):
    distinct = sorted({*targets, *nontargets})
    candidates = sorted(distinct + [(a + b) / 2 for a, b in zip(distinct, distinct[1:], strict=False)])
    curve = []
    for c in candidates:
        misses, false_alarms = sum(t <= c for t in targets), sum(n > c for n in nontargets)
        curve.append((Fraction(misses, len(targets)), Fraction(false_alarms, len(nontargets))))
    expected = float(sum(min(curve, key=lambda p: abs(p[0] - p[1]))) / 2)
    assert eer(targets, nontargets, "speechbrain").rate == pytest.approx(expected)


@given(SCORES, SCORES)
def test_rocch_is_the_worst_priors_least_bayes_error(targets, nontargets):
    curve = [(float(p_miss), float(p_fa)) for p_miss, p_fa, _ in points(targets, nontargets)]
    # The least error is concave in the prior and bends only where two points cost the same.
    priors = [0.0, 1.0]
    priors += [(f - e) / (f - e + m - n) for m, f in curve for n, e in curve if f - e + m - n and (f - e) * (m - n) > 0]
    priors += [(f - e) / (f - e - (m - n)) for m, f in curve for n, e in curve if (f - e) * (m - n) < 0]
    worst = max(min(p * m + (1 - p) * f for m, f in curve) for p in priors)
    rate = eer(targets, nontargets, "rocch").rate
    assert rate == pytest.approx(worst)
    assert rate <= eer(targets, nontargets).rate + 1e-15


@given(SCORES, SCORES, st.sampled_from(sorted(EER)), st.randoms(use_true_random=False))
def test_order_of_trials_does_not_matter(targets, nontargets, definition, random):
    before = eer(targets, nontargets, definition)
    random.shuffle(targets)
    random.shuffle(nontargets)
    assert eer(targets, nontargets, definition) == before
    trials = [(s, True) for s in targets] + [(s, False) for s in nontargets]
    random.shuffle(trials)
    scores, mask = zip(*trials, strict=True)
    assert eer(scores, np.array(mask), definition) == before


@given(SCORES, SCORES, st.sampled_from(sorted(EER)), st.sampled_from([0.5, 1, 8]), st.integers(-3, 3))
def test_increasing_map_moves_the_threshold_and_nothing_else(targets, nontargets, definition, a, b):
    rate, threshold = eer(targets, nontargets, definition)
    moved = eer([a * s + b for s in targets], [a * s + b for s in nontargets], definition)
    assert moved == (rate, a * threshold + b)


@given(SCORES, SCORES, st.sampled_from(["staircase", "rocch", "roc_max"]), st.integers(2, 5))
def test_duplicating_every_trial_changes_nothing(targets, nontargets, definition, times):
    assert eer(targets * times, nontargets * times, definition) == eer(targets, nontargets, definition)


@given(SCORES, SCORES, st.sampled_from(["staircase", "rocch"]))
def test_swapping_classes_and_negating_scores_changes_nothing(targets, nontargets, definition):
    swapped = eer([-s for s in nontargets], [-s for s in targets], definition).rate
    assert swapped == pytest.approx(eer(targets, nontargets, definition).rate)


@given(SCORES, SCORES, st.sampled_from(sorted(EER)))
def test_threshold_is_a_score_or_rejects_all(targets, nontargets, definition):
    rate, threshold = eer(targets, nontargets, definition)
    assert 0 <= rate <= 1
    assert threshold in {*targets, *nontargets, np.inf}
    if definition in ("staircase", "kaldi", "rocch", "wespeaker"):
        assert np.isfinite(threshold)


def test_constant_scores():
    targets, nontargets = [1] * 5, [1] * 7
    assert eer(targets, nontargets).rate == 0.5
    assert eer(targets, nontargets, "rocch").rate == 0.5
    assert eer(targets, nontargets, "kaldi").rate == 4 / 5


def test_a_list_without_a_point_of_fewer_misses_still_has_a_wespeaker_rate():
    assert eer([1], [0], "wespeaker").rate == 0


def test_large_lists_of_float32_keep_exact_counts():
    rng = np.random.default_rng(0)
    targets = rng.standard_normal(30_000, np.float32) + np.float32(2)
    nontargets = rng.standard_normal(200_000, np.float32)
    every = np.sort(np.concatenate([targets, nontargets]).astype(np.float64))
    p_miss = np.searchsorted(np.sort(targets), every.astype(np.float32)) / len(targets)
    p_fa = 1 - np.searchsorted(np.sort(nontargets), every.astype(np.float32)) / len(nontargets)
    i = int(np.argmax(p_miss >= p_fa))
    gap = p_miss[i - 1 : i + 1] - p_fa[i - 1 : i + 1]
    expected = np.interp(0, gap, p_miss[i - 1 : i + 1])
    assert eer(targets, nontargets).rate == pytest.approx(expected, rel=1e-12)
    assert eer(targets, nontargets).rate == pytest.approx(0.158655, abs=6e-3)  # 1 - Phi(1)


def test_unknown_definition_names_the_nearest():
    with pytest.raises(InputError, match="did you mean kaldi"):
        eer([1], [0], "kaldy")
