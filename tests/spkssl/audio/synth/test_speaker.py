import dataclasses

import numpy as np
import pytest

from spkssl import rng as streams
from spkssl.audio.synth.speaker import draw_speaker, draw_state
from spkssl.audio.synth.variation import HARD, STANDARD, Variation


def _many(variation: Variation, count: int = 1500) -> list:
    return [draw_speaker(variation, streams.numpy(5, "speaker", number)) for number in range(count)]


def test_spread_scales_tract_accent_and_source():
    for variation in (STANDARD, HARD):
        speakers = _many(variation)
        means = {False: np.log(1.0), True: np.log(1.13)}
        tract = np.std([np.log(s.tract) - means[s.female] for s in speakers])
        accent = np.std([np.log(s.accent[:, 1]) for s in speakers])
        upper = np.std([np.log(s.upper) for s in speakers], axis=0)
        fricative = np.std([s.fricative_db for s in speakers])
        assert tract == pytest.approx(0.055 * variation.spread, rel=0.1)
        assert accent == pytest.approx(0.055 * variation.spread, rel=0.02)
        np.testing.assert_allclose(upper, 0.055 * variation.spread, rtol=0.1)
        assert fricative == pytest.approx(3.0 * variation.spread, rel=0.1)


def test_standard_is_the_wider_set_and_hard_has_the_wider_sessions():
    assert (STANDARD.spread, STANDARD.sessions, STANDARD.eq_db, STANDARD.telephone) == (1.3, 4, 2.5, 0.05)
    assert (STANDARD.session_f0, STANDARD.session_formants, STANDARD.session_effort_db) == (0.07, 0.012, 3.0)
    assert (HARD.spread, HARD.sessions, HARD.eq_db) == (1.0, 5, 2.5)
    assert (HARD.session_f0, HARD.session_formants, HARD.session_effort_db) == (0.12, 0.025, 5.0)


def test_factors_stay_in_their_ranges():
    limits = {"tract": (0.86, 1.32), "f0": (75, 300), "open_quotient": (0.35, 0.9), "tilt_db": (0, 22)}
    limits |= {"hnr_db": (6, 30), "nasality": (0, 0.6), "creak": (0, 0.8), "coarticulation_ms": (15, 60)}
    speakers = _many(STANDARD)
    for name, (low, high) in limits.items():
        values = np.array([getattr(s, name) for s in speakers])
        assert low <= values.min() and values.max() <= high, name
    assert all(s.vowel_prior.sum() == pytest.approx(1) and (s.bandwidths > 0).all() for s in speakers)


def test_both_sexes_are_about_as_frequent_and_their_f0_overlaps():
    speakers = _many(STANDARD)
    female = np.array([s.female for s in speakers])
    f0 = np.array([s.f0 for s in speakers])
    assert 0.45 < female.mean() < 0.55
    assert f0[female].min() < f0[~female].max()


def test_speaker_depends_only_on_its_stream():
    once, again = (draw_speaker(STANDARD, streams.numpy(1, "speaker", 7)) for _ in range(2))
    other = draw_speaker(STANDARD, streams.numpy(1, "speaker", 8))
    for field in dataclasses.fields(once):
        np.testing.assert_array_equal(getattr(once, field.name), getattr(again, field.name))
    assert once.f0 != other.f0


def test_sessions_vary_as_much_as_asked_for():
    for variation in (STANDARD, HARD):
        states = [draw_state(variation, streams.numpy(5, "session", number)) for number in range(2000)]
        assert np.std([np.log(s.f0) for s in states]) == pytest.approx(variation.session_f0, rel=0.1)
        assert np.std([np.log(s.formants) for s in states]) == pytest.approx(variation.session_formants, rel=0.1)
        assert np.std([s.effort_db for s in states]) == pytest.approx(variation.session_effort_db, rel=0.1)


@pytest.mark.parametrize(
    "wrong", [{"sessions": 1}, {"seconds": (5.0, 3.0)}, {"seconds": (0.1, 3.0)}, {"rt60": (0.0, 0.5)}]
)
def test_impossible_variation_is_refused(wrong):
    with pytest.raises(ValueError, match="got"):
        Variation(**wrong)
