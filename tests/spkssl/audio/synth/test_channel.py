from dataclasses import replace

import numpy as np
import pytest

from spkssl import rng as streams
from spkssl.audio.synth.channel import NOISE_SHARES, Channel, band_db, draw_channel, transmit
from spkssl.audio.synth.filters import BIN_HZ, BINS
from spkssl.audio.synth.noise import KINDS, Clips
from spkssl.audio.synth.speaker import draw_speaker, draw_state
from spkssl.audio.synth.variation import STANDARD
from spkssl.audio.synth.voice import speak


@pytest.fixture(scope="module")
def clips() -> Clips:
    return Clips(2, "channel noise", STANDARD, seconds=2.0)


def _speech(number: int = 0) -> np.ndarray:
    rng = streams.numpy(2, "utterance", number)
    return speak(draw_speaker(STANDARD, rng), draw_state(STANDARD, rng), STANDARD, rng)


def _share_above(wave: np.ndarray, hz: float) -> float:
    power = np.abs(np.fft.rfft(wave.astype(np.float64))) ** 2
    return power[np.linspace(0, 8000, len(power)) > hz].sum() / power.sum()


def test_telephone_passes_next_to_nothing_above_4500_hz(clips):
    telephone = replace(STANDARD, telephone=1.0)
    for number in range(8):
        channel = draw_channel(telephone, streams.numpy(2, "session", number))
        pcm = transmit(_speech(number), channel, clips, streams.numpy(2, "line", number))
        assert _share_above(pcm, 4500) < 0.005  # the line falls by 96 dB an octave from 3.4-4.2 kHz
        assert _share_above(pcm, 7000) < 5e-5


def test_other_channels_keep_the_upper_band(clips):
    wide = replace(STANDARD, telephone=0.0)
    gains = [draw_channel(wide, streams.numpy(2, "session", n)).gain for n in range(40)]
    upper = np.mean([20 * np.log10(gain[np.abs(BIN_HZ - 5000) < 500]).mean() for gain in gains])
    assert abs(upper) < 2


def test_band_limits_are_3_db_down():
    db = band_db(250.0, 3750.0)
    assert db[BIN_HZ == 250][0] == pytest.approx(-3.01, abs=0.01)
    assert db[BIN_HZ == 3750][0] == pytest.approx(-3.01, abs=0.01)
    assert abs(db[BIN_HZ == 1000][0]) < 0.01


def test_equaliser_has_the_standard_deviation_asked_for():
    wide = replace(STANDARD, telephone=0.0)
    middle = (BIN_HZ > 500) & (BIN_HZ < 4000)
    db = [20 * np.log10(draw_channel(wide, streams.numpy(2, "session", n)).gain[middle]) for n in range(400)]
    assert np.std(db) == pytest.approx(2.5, rel=0.12)


def test_recording_is_never_clipped_and_keeps_its_length(clips):
    for number in range(6):
        wave = _speech(number)
        channel = draw_channel(STANDARD, streams.numpy(2, "session", number))
        pcm = transmit(wave, channel, clips, streams.numpy(2, "line", number))
        peak = np.abs(pcm.astype(int)).max() / 32767
        assert pcm.dtype == np.int16 and len(pcm) == len(wave)
        assert 10 ** (-12.1 / 20) < peak < 10 ** (-0.9 / 20)


def test_noise_is_added_at_the_snr_of_the_session(clips):
    wave = _speech()
    ratios = []
    for number in range(20):
        quiet, noisy = (
            transmit(wave, Channel(np.ones(BINS), None, "white", snr_db), clips, streams.numpy(2, "line", number))
            for snr_db in (200.0, 10.0)
        )
        # Peaks are normalised, so the speech in the noisy one is found by projection
        quiet, noisy = quiet.astype(float), noisy.astype(float)
        speech = quiet * (noisy @ quiet) / (quiet @ quiet)
        ratios.append(10 * np.log10((speech**2).mean() / ((noisy - speech) ** 2).mean()))
    assert np.mean(ratios) == pytest.approx(10, abs=1.5)
    assert 1 < np.std(ratios) < 3.5  # 2 dB from utterance to utterance


def test_noises_and_rooms_are_as_frequent_as_asked_for():
    channels = [draw_channel(STANDARD, streams.numpy(2, "session", n)) for n in range(600)]
    assert NOISE_SHARES.keys() == KINDS.keys() and sum(NOISE_SHARES.values()) == pytest.approx(1)
    for kind, share in NOISE_SHARES.items():
        assert np.mean([c.noise == kind for c in channels]) == pytest.approx(share, abs=0.06)
    assert np.mean([c.rir is not None for c in channels]) == pytest.approx(0.7, abs=0.06)
    assert np.mean([c.gain[BIN_HZ == 6000][0] < 0.05 for c in channels]) == pytest.approx(0.05, abs=0.03)
