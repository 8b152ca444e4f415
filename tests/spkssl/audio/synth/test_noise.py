import numpy as np
import pytest

from spkssl import rng as streams
from spkssl.audio.synth.noise import KINDS, Clips, hum, pink, white
from spkssl.audio.synth.variation import STANDARD


def _clips(tag: str = "noise", **options: float) -> Clips:
    return Clips(4, tag, STANDARD, seconds=1.0, **options)


@pytest.fixture(scope="module")
def clips() -> Clips:
    return _clips()


@pytest.mark.parametrize("kind", KINDS)
def test_clips_have_unit_level_and_the_length_asked_for(clips, kind):
    clip = clips.clip(kind, 0)
    assert len(clip) == 16000 and np.isfinite(clip).all()
    assert clip.std() == pytest.approx(1, abs=1e-3)


def test_clip_does_not_depend_on_what_was_made_before(clips):
    fresh = _clips(per_kind=9)
    for kind in ("music", "babble", "pink"):
        np.testing.assert_array_equal(fresh.clip(kind, 1), clips.clip(kind, 1))


def test_sets_with_other_tags_share_no_clip(clips):
    other = _clips("channel noise")
    for kind in ("white", "hum", "music"):
        for number in range(3):
            mine = clips.clip(kind, number)
            assert all(abs(np.corrcoef(mine, other.clip(kind, n))[0, 1]) < 0.999 for n in range(3))
            assert not any(np.array_equal(mine, other.clip(kind, n)) for n in range(3))


def test_pink_noise_falls_with_frequency_and_white_hardly():
    def fall_db(make) -> float:
        power = np.abs(np.fft.rfft(make(64000, streams.numpy(1, "colour")))) ** 2
        return 10 * np.log10(power[400:800].mean() / power[16000:].mean())  # 100-200 Hz over 4-8 kHz

    assert fall_db(pink) > 10 and fall_db(white) < 9


def test_hum_sits_on_the_harmonics_of_the_mains():
    wave = hum(160000, streams.numpy(1, "hum"))
    power = np.abs(np.fft.rfft(wave)) ** 2  # 0.1 Hz a bin
    harmonics = max(power[[500 * k for k in range(1, 16)]].sum(), power[[600 * k for k in range(1, 16)]].sum())
    assert harmonics > 0.8 * power.sum()
