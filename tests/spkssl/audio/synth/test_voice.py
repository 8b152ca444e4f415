import time
from dataclasses import replace

import numpy as np
import pytest

from spkssl import rng as streams
from spkssl.audio.synth import phones
from spkssl.audio.synth.articulation import Tract
from spkssl.audio.synth.filters import BIN_HZ, cascade, response, section, smooth
from spkssl.audio.synth.speaker import Speaker, State, draw_speaker, draw_state
from spkssl.audio.synth.syllables import draw_phones, segment
from spkssl.audio.synth.variation import STANDARD
from spkssl.audio.synth.voice import glottal_response, pronounce, speak, vocal_response

_NEUTRAL = State(f0=1.0, formants=1.0, effort_db=0.0, rate=1.0, hnr_db=0.0, nasality=0.0)


def _speaker(number: int = 0, **changes: float) -> Speaker:
    return replace(draw_speaker(STANDARD, streams.numpy(3, "speaker", number)), **changes)


def _sustained(phone: str, speaker: Speaker, seconds: float = 0.8) -> np.ndarray:
    variation = replace(STANDARD, utterance_f0=0.0)
    said = [phones.NAMES.index(phone)]
    return pronounce(speaker, _NEUTRAL, variation, said, [seconds], streams.numpy(3, phone), seconds)


def _f0(wave: np.ndarray, low: float, high: float) -> float:
    """By the highest peak of the autocorrelation of the middle half second, between two frequencies."""
    middle = wave[len(wave) // 2 - 4000 : len(wave) // 2 + 4000]
    correlation = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    shortest, longest = int(16000 / high), int(16000 / low)
    return 16000 / (shortest + int(np.argmax(correlation[shortest:longest])))


@pytest.mark.parametrize("f0", [90.0, 130.0, 190.0, 260.0])
@pytest.mark.parametrize("vowel", ["a", "i", "u"])
def test_vowel_has_the_f0_asked_for(f0, vowel):
    still = _speaker(f0=f0, accent_size=0.0, declination=0.0, creak=0.0, hnr_db=25.0, jitter=0.001)
    # Searched near by, since harmonics and subharmonics are periods too; effort and microprosody move it a little
    assert _f0(_sustained(vowel, still), f0 / 1.5, f0 * 1.5) == pytest.approx(f0, rel=0.08)


def test_utterances_are_finite_as_loud_and_as_long_as_asked_for():
    start, made = time.process_time(), 0.0
    for number in range(12):
        rng = streams.numpy(3, "utterance", number)
        wave = speak(_speaker(number), draw_state(STANDARD, rng), STANDARD, rng)
        made += len(wave) / 16000
        assert wave.dtype == np.float32 and np.isfinite(wave).all()
        assert 3.0 <= len(wave) / 16000 + 1e-3 and len(wave) / 16000 <= 5.0
        assert abs(20 * np.log10(np.sqrt(np.mean(wave**2)))) < 2.5  # the level's standard deviation is 0.5 dB
    print(f"{made / (time.process_time() - start):.0f} times faster than real time")


def test_utterance_depends_only_on_speaker_state_and_stream():
    waves = [speak(_speaker(1), _NEUTRAL, STANDARD, streams.numpy(3, "utterance", 1)) for _ in range(2)]
    np.testing.assert_array_equal(*waves)
    other = speak(_speaker(1), _NEUTRAL, STANDARD, streams.numpy(3, "utterance", 2))
    assert len(other) != len(waves[0]) or not np.array_equal(other, waves[0])


def test_fricative_is_noise_above_the_vowel_in_frequency():
    speaker = _speaker(2)
    centroids = []
    for phone in ("s", "a"):
        power = np.abs(np.fft.rfft(_sustained(phone, speaker))) ** 2
        centroids.append((np.linspace(0, 8000, len(power)) * power).sum() / power.sum())
    assert centroids[0] > 3500 and centroids[1] < 2000


def test_vocal_response_peaks_at_the_formants_and_is_one_at_zero():
    frames, hz = 3, np.array([500.0, 1500.0, 2500.0])
    oral, still = np.zeros(frames), np.zeros(frames)
    speaker = _speaker(3, bandwidths=np.full(7, 0.7), nasal_pole=270.0)
    tract = Tract(np.tile(hz, (frames, 1)), still, still, still, np.zeros(frames, int), oral, np.full(frames, 270.0))
    gain = np.abs(vocal_response(speaker, _NEUTRAL, tract))
    np.testing.assert_allclose(gain[:, 0], 1.0, rtol=1e-9)
    for formant in hz:
        near = np.abs(BIN_HZ - formant) < 400
        assert BIN_HZ[near][gain[0, near].argmax()] == pytest.approx(formant, abs=40)


def test_source_is_tilted_by_so_many_db_at_3_khz():
    f0 = np.full(2, 120.0)
    flat, tilted = (np.abs(glottal_response(_speaker(3, tilt_db=db), f0, 0.0))[0] for db in (0.0, 12.0))
    ratio = 20 * np.log10(tilted / flat)
    assert ratio[0] == pytest.approx(0, abs=1e-6)
    assert ratio[np.argmin(np.abs(BIN_HZ - 3000))] == pytest.approx(-12, abs=1e-6)


def test_response_of_a_cascade_is_the_product_of_the_responses():
    formants = [([500.0, 900.0], [60.0, 90.0]), ([1500.0, 1500.0], [80.0, 80.0])]
    parts = [section(np.array(hz), np.array(bandwidth)) for hz, bandwidth in formants]
    np.testing.assert_allclose(response(cascade(*parts)), response(parts[0]) * response(parts[1]), atol=1e-12)
    z = np.exp(-2j * np.pi * BIN_HZ / 16000)
    direct = sum(parts[0][1, tap] * z**tap for tap in range(3))
    np.testing.assert_allclose(response(parts[0])[1], direct, atol=1e-12)


def test_smoothing_keeps_constants_and_spreads_steps():
    np.testing.assert_allclose(smooth(np.full((50, 3), 7.0), 30.0), 7.0)
    step = smooth(np.repeat([0.0, 1.0], 50), 40.0)
    assert (np.diff(step) >= -1e-12).all() and step[0] == 0 and step[-1] == 1
    assert step[49] == pytest.approx(1 - step[50])


def test_phones_fill_the_time_in_order():
    said, lasts = draw_phones(_speaker(4), 3.0, 1.0, streams.numpy(3, "phones"))
    assert said[0] == phones.PAUSE and sum(lasts) >= 3.0 and min(lasts) > 0
    segments = segment(said, lasts, 375)
    assert (np.diff(segments.of_frame) >= 0).all() and segments.of_frame[0] == 0
    first = int(np.ceil(lasts[0] * 16000 / 128 - 0.5))
    assert segments.of_frame[first] > 0


def test_faster_speakers_say_more():
    slow, fast = (len(draw_phones(_speaker(5), 20.0, rate, streams.numpy(3, "phones"))[0]) for rate in (0.8, 1.3))
    assert fast > 1.3 * slow
