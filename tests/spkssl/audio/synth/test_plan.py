import numpy as np
import pytest

from spkssl import rng as streams
from spkssl.audio.synth.plan import FIRST_SPEAKER, Recording, Sizes, draw_trials, recordings


def _trials(speakers: int = 80, utts: int = 12, sessions: int = 4):
    recorded = recordings("test", speakers, utts, sessions)
    female = streams.numpy(0, "sex").random(speakers) < 0.5
    trials = draw_trials(recorded, female, streams.numpy(0, "trials"))
    by_name = {recording.name: recording for recording in recorded}
    enrol = [by_name[trials.enrol_names[row]] for row in trials.enrol]
    test = [by_name[trials.test_names[row]] for row in trials.test]
    sex = dict(zip(sorted({r.speaker for r in recorded}), female))
    return trials, enrol, test, sex


def test_default_test_list_has_4320_targets_and_twice_as_many_nontargets():
    trials, *_ = _trials()
    assert trials.target.sum() == 80 * 54 == 4320
    assert (~trials.target).sum() == 2 * 4320


def test_targets_are_across_sessions_and_labels_are_true():
    trials, enrol, test, _ = _trials()
    for target, a, b in zip(trials.target, enrol, test):
        assert target == (a.speaker == b.speaker)
        assert not target or a.session != b.session


def test_half_of_the_nontargets_are_of_the_same_sex():
    trials, enrol, test, sex = _trials()
    same = [sex[a.speaker] == sex[b.speaker] for a, b, target in zip(enrol, test, trials.target) if not target]
    assert sum(same) == len(same) / 2


def test_no_pair_is_tried_twice_and_the_list_is_sorted():
    trials, enrol, test, _ = _trials(speakers=20)
    pairs = [(a.name, b.name) for a, b in zip(enrol, test)]
    assert pairs == sorted(pairs)
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)


def test_small_sets_get_the_nontargets_there_are():
    recorded = recordings("dev", 2, 4, 4)
    for female in ([True, True], [True, False]):
        trials = draw_trials(recorded, female, streams.numpy(0, "trials"))
        assert trials.target.sum() == 12 and (~trials.target).sum() == 12


def test_sets_share_no_speaker_whatever_their_sizes():
    sets = [{r.speaker for r in recordings(name, 9999, 1, 4)} for name in FIRST_SPEAKER]
    assert len(set.union(*sets)) == sum(map(len, sets))
    with pytest.raises(ValueError, match="at most 9999"):
        Sizes(train_speakers=10000)


def test_more_utterances_leave_the_others_as_they_are():
    assert set(recordings("train", 3, 5, 4)) < set(recordings("train", 4, 11, 4))


def test_names_show_the_speaker_first_and_opaque_names_nothing():
    recorded = recordings("train", 100, 20, 4)
    assert Recording(20001, 1, 3).name == "s20001-1-03"
    opaque = {r.opaque_name(0): r for r in recorded}
    assert len(opaque) == len(recorded) == 2000
    speakers = np.array([opaque[name].speaker for name in sorted(opaque)])
    # In sorted order neighbours are of one speaker no more often than by chance (1 in 100)
    assert (speakers[1:] == speakers[:-1]).mean() < 0.02
    assert abs(np.corrcoef(np.arange(2000), speakers)[0, 1]) < 0.08
    assert Recording(1, 1, 1).opaque_name(0) != Recording(1, 1, 1).opaque_name(1)


@pytest.mark.parametrize("wrong", [{"train_speakers": 0}, {"dev_utts": 1}, {"test_speakers": 1}, {"rirs": 0}])
def test_sizes_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="at least"):
        Sizes(**wrong)
