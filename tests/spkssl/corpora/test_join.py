import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from spkssl.corpora.join import join_files, join_groups
from spkssl.errors import InputError


@pytest.mark.parametrize(
    ("seconds", "least", "groups"),
    [
        ([1.0, 0.5, 0.1, 6.0], 1.0, [[0, 1, 2], [3]]),
        ([0.5, 0.6, 1.7], 1.0, [[0, 1], [2]]),
        ([6, 0.1, 7], 0.5, [[0, 1], [2]]),
        ([7, 0.1, 6], 0.5, [[0, 1], [2]]),
        ([0.2, 3.0, 2.0], 1.0, [[0, 1], [2]]),  # nothing on the left
        ([0.2, 0.3], 1.0, [[0, 1]]),  # together still too short: one short item
        ([0.2], 1.0, [[0]]),
        ([], 1.0, []),
        ([1.0 - 1e-6, 2.0], 1.0, [[0], [1]]),  # short by less than counts
        ([3.0, 0.5, 1.0], 1.0, [[0], [1, 2]]),  # the right one only just suffices, and the left one is longer
        ([0.9, 0.5, 1.0], 1.0, [[0, 1], [2]]),
    ],
)
def test_known_cases(seconds, least, groups):
    assert join_groups(seconds, least) == groups


def test_all_are_kept_in_order_and_none_is_short_when_there_is_enough():
    draws = np.random.default_rng(0)
    for count in range(1, 30):
        seconds = draws.uniform(0.1, 3, count)
        groups = join_groups(seconds, 2.0)
        assert list(itertools.chain(*groups)) == list(range(count))
        if seconds.sum() >= 2:
            assert all(seconds[group].sum() >= 2 - 1e-4 for group in groups)


def write(path, samples, rate=16000):
    pcm = np.random.default_rng(samples).integers(-9999, 9999, samples).astype(np.int16)
    soundfile.write(path, pcm, rate, "PCM_16")
    return pcm


def test_joined_audio_is_its_sources_bit_for_bit_and_kept_when_whole(tmp_path):
    a, b, out = tmp_path / "a.flac", tmp_path / "b.wav", tmp_path / "made" / "ab.flac"
    expected = np.concatenate([write(a, 700), write(b, 300)])
    samples = {a: 700, b: 300}
    join_files({out: [a, b]}, samples)
    assert np.array_equal(soundfile.read(out, dtype="int16")[0], expected)
    first = out.stat()
    join_files({out: [a, b]}, samples, nj=2)
    assert out.stat().st_mtime_ns == first.st_mtime_ns
    soundfile.write(out, expected[:500], 16000, "PCM_16")
    join_files({out: [a, b]}, samples)
    assert np.array_equal(soundfile.read(out, dtype="int16")[0], expected)


def test_audio_of_another_rate_is_refused(tmp_path):
    write(tmp_path / "a.wav", 500, 8000)
    with pytest.raises(InputError, match="got 8000 Hz, expected 16000 Hz"):
        join_files({tmp_path / "b.flac": [tmp_path / "a.wav"]}, {tmp_path / "a.wav": 500})


def test_the_first_files_tell_what_the_others_will_take(tmp_path, monkeypatch):
    sources = [tmp_path / f"{n}.wav" for n in range(4)]
    for source in sources:
        write(source, 800)
    places = {tmp_path / "made" / f"{n}.flac": sources[n : n + 2] for n in range(3)}
    told = []
    monkeypatch.setattr("spkssl.corpora.join._MEASURED", 1)
    join_files(places, dict.fromkeys(sources, 800), tell=told.append)
    assert len(told) == 1 and 1000 < told[0].bytes < 2 * 2 * 1600 * 1.5 and all(place.exists() for place in places)
    for place in places:
        place.unlink()
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(InputError, match=r"made: the disk is too small \(got 0 kB free, .*another disk by --audio"):
        join_files(places, dict.fromkeys(sources, 800))
