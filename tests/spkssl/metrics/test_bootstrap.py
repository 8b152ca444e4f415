"""Speaker-level resampling, against copies of trials made by hand."""

import numpy as np
import pytest

from spkssl.errors import InputError
from spkssl.metrics.bootstrap import bootstrap_eer, bootstrap_min_dcf, paired_difference
from spkssl.metrics.dcf import min_dcf
from spkssl.metrics.eer import eer

SPEAKERS = 12


class Fixed:
    """A generator that draws the speakers it is told to."""

    def __init__(self, *draws):
        self.draws = list(draws)

    def integers(self, high, size):
        drawn = np.array(self.draws.pop(0))
        assert len(drawn) == size and drawn.max() < high
        return drawn


def trials(seed=0, n=3000, spread=0.5):
    rng = np.random.default_rng(seed)
    enrol = rng.integers(SPEAKERS, size=n)
    test = np.where(rng.random(n) < 0.4, enrol, rng.integers(SPEAKERS, size=n))
    is_target = enrol == test
    habit = spread * rng.standard_normal(SPEAKERS)
    scores = np.round(rng.standard_normal(n) + 2 * is_target + habit[enrol] + habit[test], 1)
    return scores, is_target, enrol, test


def copied(scores, is_target, enrol, test, drawn):
    """Each trial written out as often as the draw of speakers says."""
    times = np.bincount(drawn, minlength=SPEAKERS)
    weight = [times[e] if e == t else times[e] * times[t] for e, t in zip(enrol, test, strict=True)]
    return np.repeat(scores, weight), np.repeat(is_target, weight)


@pytest.mark.parametrize("seed", range(5))
def test_a_replicate_equals_trials_copied_by_hand(seed):
    data = trials(seed)
    drawn = np.random.default_rng(seed).integers(SPEAKERS, size=SPEAKERS)
    scores, is_target = copied(*data, drawn)
    assert bootstrap_eer(*data, Fixed(drawn), n=1).replicates[0] == eer(scores, is_target).rate
    expected = min_dcf(scores, is_target, 0.05).cost
    assert bootstrap_min_dcf(*data, Fixed(drawn), p_target=0.05, n=1).replicates[0] == expected


def test_drawing_every_speaker_once_gives_the_estimate():
    data = trials()
    found = bootstrap_eer(*data, Fixed(np.arange(SPEAKERS)), n=1)
    assert found.replicates[0] == found.estimate == eer(data[0], data[1]).rate


def test_same_generator_same_interval_and_names_serve_as_well_as_numbers():
    scores, is_target, enrol, test = trials()
    first = bootstrap_eer(scores, is_target, enrol, test, np.random.default_rng(1), n=50)
    names = np.array([f"id{i:02d}" for i in range(SPEAKERS)])
    second = bootstrap_eer(scores, is_target, names[enrol], names[test], np.random.default_rng(1), n=50)
    assert list(first.replicates) == list(second.replicates)
    assert first.low == np.quantile(first.replicates, 0.025) and first.high == np.quantile(first.replicates, 0.975)
    assert first.low < first.estimate < first.high


def test_order_of_trials_does_not_matter():
    data = trials()
    shuffled = np.random.default_rng(5).permutation(len(data[0]))
    first = bootstrap_eer(*data, np.random.default_rng(1), n=20)
    second = bootstrap_eer(*(array[shuffled] for array in data), np.random.default_rng(1), n=20)
    assert list(first.replicates) == list(second.replicates)


def test_speakers_with_habits_widen_the_interval():
    def width(spread):
        found = bootstrap_eer(*trials(spread=spread), np.random.default_rng(0), n=200)
        return found.high - found.low

    assert width(2.0) > 2 * width(0.0)


def test_a_system_does_not_differ_from_itself():
    scores, *rest = trials()
    found = paired_difference(scores, 3 * scores + 1, *rest, np.random.default_rng(0), n=20)
    assert (found.estimate, found.low, found.high) == (0, 0, 0)


def test_pairing_narrows_the_interval_of_a_difference():
    scores, is_target, enrol, test = trials(spread=1.5)
    other = scores + 0.3 * is_target
    paired = paired_difference(scores, other, is_target, enrol, test, np.random.default_rng(0), n=200)
    apart = [
        bootstrap_eer(system, is_target, enrol, test, np.random.default_rng(seed), n=200).replicates
        for seed, system in ((1, scores), (2, other))
    ]
    assert paired.estimate == eer(scores, is_target).rate - eer(other, is_target).rate
    assert 0 < paired.low < paired.estimate < paired.high
    assert paired.replicates.std() < 0.5 * (apart[0] - apart[1]).std()


def test_paired_min_dcf_is_the_difference_of_both_on_one_draw():
    scores, is_target, enrol, test = trials()
    other = np.random.default_rng(9).permutation(scores)
    drawn = np.random.default_rng(3).integers(SPEAKERS, size=SPEAKERS)
    found = paired_difference(scores, other, is_target, enrol, test, Fixed(drawn), "min_dcf", p_target=0.3, n=1)
    costs = [min_dcf(*copied(s, is_target, enrol, test, drawn), 0.3).cost for s in (scores, other)]
    assert found.replicates[0] == costs[0] - costs[1]


def test_a_draw_without_a_class_is_drawn_again():
    scores, is_target = np.array([1.0, 0.0]), np.array([True, False])
    enrol, test = np.array([0, 0]), np.array([0, 1])
    found = bootstrap_eer(scores, is_target, enrol, test, Fixed([1, 1], [0, 0], [0, 1]), n=1)
    assert list(found.replicates) == [0]


def test_lists_that_never_hold_both_classes_are_an_error():
    with pytest.raises(InputError, match="100 draws of 2 speakers"):
        bootstrap_eer([1, 0], np.array([True, False]), [0, 0], [0, 1], Fixed(*[[0, 0]] * 100), n=1)


def test_wrong_arguments_are_errors():
    scores, is_target, enrol, test = trials()
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="one shape"):
        bootstrap_eer(scores, is_target, enrol[1:], test, rng)
    with pytest.raises(InputError, match="boolean mask"):
        bootstrap_eer(scores, is_target.astype(int), enrol, test, rng)
    with pytest.raises(InputError, match="0 replicates"):
        bootstrap_eer(scores, is_target, enrol, test, rng, n=0)
    with pytest.raises(InputError, match="unknown name 'cllr'"):
        paired_difference(scores, scores, is_target, enrol, test, rng, "cllr")
    with pytest.raises(InputError, match="not finite"):
        bootstrap_eer(np.where(scores > 2, np.nan, scores), is_target, enrol, test, rng)
