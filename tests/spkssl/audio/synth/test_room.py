import numpy as np
import pytest

from spkssl import rng as streams
from spkssl.audio.synth.room import draw_rir


def _decay_time(rir: np.ndarray) -> float:
    """Reverberation time by Schroeder's backward integration, from the fall between -5 and -25 dB of the tail."""
    energy = np.cumsum((rir[700:] ** 2)[::-1])[::-1]  # after the early reflections
    level = 10 * np.log10(energy / energy[0])
    used = np.flatnonzero((level < -5) & (level > -25))
    slope = np.polyfit(used / 16000, level[used], 1)[0]
    return -60 / slope


@pytest.mark.parametrize("rt60", [0.2, 0.3, 0.4, 0.5])
def test_tail_decays_with_the_reverberation_time(rt60):
    times = [_decay_time(draw_rir(rt60, streams.numpy(1, "rir", n))) for n in range(10)]
    assert 0.9 * rt60 < np.mean(times) < 1.35 * rt60  # the low band rings 1.3 times as long


def test_high_frequencies_decay_with_the_reverberation_time_itself():
    times = []
    for n in range(10):
        rir = np.convolve(draw_rir(0.4, streams.numpy(1, "rir", n)), [1, -4, 6, -4, 1], "same")  # steep high-pass
        times.append(_decay_time(rir))
    assert np.mean(times) == pytest.approx(0.4, rel=0.12)


@pytest.mark.parametrize("drr_db", [-2.0, 5.0, 10.0])
def test_direct_sound_comes_first_at_the_ratio_asked_for(drr_db):
    rir = draw_rir(0.4, streams.numpy(1, "rir", 0), drr_db).astype(np.float64)
    assert 10 * np.log10(rir[0] ** 2 / (rir[1:] ** 2).sum()) == pytest.approx(drr_db, abs=1e-3)
    assert (rir**2).sum() == pytest.approx(1, abs=1e-5)


def test_response_is_at_most_as_long_as_it_rings_and_finite():
    for rt60 in (0.1, 0.5, 2.0):
        rir = draw_rir(rt60, streams.numpy(1, "rir", 1))
        assert len(rir) == int(min(1.1 * rt60, 0.7) * 16000) and np.isfinite(rir).all()
