import pickle

import numpy as np
import pytest
import soundfile

from spkssl.audio.augment.bank import NoiseBank
from spkssl.audio.store import FrameStore, WaveStore
from spkssl.errors import InputError
from spkssl.io.ark import read_scp, write_ark


@pytest.fixture(params=["ram", "none"])
def frames(tmp_path, request):
    mels = {"a": np.arange(30, dtype=np.float32).reshape(10, 3), "b": -np.arange(12, dtype=np.float32).reshape(4, 3)}
    write_ark(tmp_path / "f.ark", tmp_path / "f.scp", mels)
    return FrameStore(list(read_scp(tmp_path / "f.scp").values()), np.array([10, 4]), request.param)


def test_crop_is_a_piece_of_the_recording(frames):
    out = frames.empty(1, 4)[0]
    frames.crop(out, 0, 3)
    np.testing.assert_array_equal(out[:, 0], [9, 12, 15, 18])


@pytest.mark.parametrize(("start", "expected"), [(2, [-6, -9, 0, -3, -6, -9, 0]), (0, [0, -3, -6, -9, 0, -3, -6])])
def test_short_recording_begins_again(frames, start, expected):
    out = frames.empty(1, 7)[0]
    frames.crop(out, 1, start)
    np.testing.assert_array_equal(out[:, 0], expected)


def test_short_recording_ends_in_silence_if_asked(frames):
    out = frames.empty(1, 6)[0]
    frames.crop(out, 1, 1, repeat=False)
    np.testing.assert_array_equal(out[:3, 0], [-3, -6, -9])
    np.testing.assert_allclose(out[3:], np.log(np.finfo(np.float32).eps))


def test_store_survives_pickling(frames):
    out, again = frames.empty(2, 4)
    frames.crop(out, 0, 1)
    pickle.loads(pickle.dumps(frames)).crop(again, 0, 1)
    np.testing.assert_array_equal(out, again)


def test_noise_starts_at_every_place_that_fits_and_nowhere_else(frames):
    bank = NoiseBank(frames, ["a", "b"], {"a": "noise", "b": "music"})
    assert {kind: rows.tolist() for kind, rows in bank.kinds.items()} == {"noise": [0], "music": [1]}
    out, begins = frames.empty(1, 4)[0], []
    for place in np.linspace(0, 0.9999, 70):
        bank.crop(out, 0, 4, place)
        begins.append(out[0, 0] / 3)
    assert sorted(set(begins)) == list(range(7))
    bank.crop(frames.empty(1, 9)[0], 1, 9, 0.9999)


def test_noise_without_kind_is_the_users_error(frames):
    with pytest.raises(InputError, match="utt2kind: no kind for b"):
        NoiseBank(frames, ["a", "b"], {"a": "noise"})


def test_audio_is_counted_in_frames(tmp_path):
    wave = (np.arange(2000, dtype=np.float32) - 1000) / 32768
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="PCM_16")
    store = WaveStore([str(tmp_path / "a.wav")], np.array([2000]))
    assert store.num_frames.tolist() == [11]
    out = store.empty(1, 2)[0]
    store.crop(out, 0, 3)
    np.testing.assert_array_equal(out, wave[480:1040])
    store.crop(out, 0, 10)
    np.testing.assert_array_equal(out, np.concatenate([wave[1600:], wave[:160]]))


def test_lengths_that_the_archive_does_not_have_are_the_users_error(tmp_path):
    write_ark(tmp_path / "f.ark", tmp_path / "f.scp", {"a": np.zeros((10, 3), np.float32)})
    with pytest.raises(InputError, match="no rows"):
        FrameStore(list(read_scp(tmp_path / "f.scp").values()), np.array([12]), "ram")
