import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from spkssl import rng
from spkssl.audio.read import AudioInfo, info, read
from spkssl.errors import InputError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
SAMPLES = 12345


@pytest.fixture(scope="module")
def wave():
    """(SAMPLES, 2): a tone and noise, in 16 bits."""
    tone = np.sin(np.arange(SAMPLES) * 0.1) / 2
    both = np.stack([tone, 0.1 * rng.numpy(0, "read").standard_normal(SAMPLES)], 1)
    return (np.round(both * 32768) / 32768).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, wave):
    folder = tmp_path_factory.mktemp("audio")
    for name, samples, rate in [
        ("mono.wav", wave[:, 0], 16000),
        ("mono.flac", wave[:, 0], 16000),
        ("mono.ogg", wave[:, 0], 16000),
        ("stereo.wav", wave, 16000),
        ("8k.wav", wave[:, 0], 8000),
        ("empty.wav", wave[:0, 0], 16000),
    ]:
        soundfile.write(folder / name, samples, rate)
    return folder


@pytest.fixture(scope="module")
def lossless_m4a(folder):
    path = folder / "it's a; name:with $(signs).m4a"
    source = ["-i", f"file:{folder / 'stereo.wav'}"]
    subprocess.run(["ffmpeg", "-v", "error", *source, "-c:a", "alac", f"file:{path}"], check=True)
    return path


@pytest.mark.parametrize("name", ["mono.wav", "mono.flac"])
def test_samples_come_back_exactly(folder, wave, name):
    got = read(folder / name)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, wave[:, 0])
    assert info(folder / name) == AudioInfo(SAMPLES, 16000, 1)


@given(start=st.integers(0, SAMPLES - 1), count=st.integers(1, SAMPLES), name=st.sampled_from(["wav", "flac", "ogg"]))
def test_a_part_is_that_part_of_the_whole(folder, start, count, name):
    count = min(count, SAMPLES - start)
    whole = read(folder / f"mono.{name}")
    np.testing.assert_array_equal(read(folder / f"mono.{name}", start, count), whole[start : start + count])


def test_without_a_count_it_reads_to_the_end(folder, wave):
    np.testing.assert_array_equal(read(folder / "mono.flac", 12000), wave[12000:, 0])


@pytest.mark.parametrize(("start", "count"), [(12344, 2), (SAMPLES, 1), (20000, 1), (20000, None), (0, SAMPLES + 1)])
def test_reading_beyond_the_end_is_an_error(folder, start, count):
    with pytest.raises(InputError, match="mono.wav: ends early"):
        read(folder / "mono.wav", start, count)


def test_slack_lets_the_end_lie_a_little_behind(folder):
    assert len(read(folder / "mono.wav", 12000, 400, slack=55)) == 345
    with pytest.raises(InputError, match="got 345 samples"):
        read(folder / "mono.wav", 12000, 400, slack=54)


def test_first_channel_unless_told(folder, wave):
    np.testing.assert_array_equal(read(folder / "stereo.wav"), wave[:, 0])
    np.testing.assert_array_equal(read(folder / "stereo.wav", 10, 20, channel=1), wave[10:30, 1])
    with pytest.raises(InputError, match="no channel 2"):
        read(folder / "stereo.wav", channel=2)


def test_another_rate_is_an_error_that_names_both(folder):
    with pytest.raises(InputError, match=r"8k.wav: wrong sample rate \(got 8000 Hz, expected 16000 Hz\).*--resample"):
        read(folder / "8k.wav")
    assert len(read(folder / "8k.wav", sample_rate=8000)) == SAMPLES


def test_resampling_keeps_the_tone(folder):
    got = read(folder / "8k.wav", resample=True)
    assert len(got) == 2 * SAMPLES
    want = np.sin(np.arange(2 * SAMPLES) * 0.05) / 2
    np.testing.assert_allclose(got[100:-100], want[100:-100], atol=2e-3)
    np.testing.assert_array_equal(read(folder / "8k.wav", 500, 100, resample=True), got[500:600])
    with pytest.raises(InputError, match="ends early"):
        read(folder / "8k.wav", SAMPLES, SAMPLES + 1, resample=True)


@needs_ffmpeg
def test_other_containers_come_through_ffmpeg(lossless_m4a, wave):
    np.testing.assert_array_equal(read(lossless_m4a), wave[:, 0])
    np.testing.assert_array_equal(read(lossless_m4a, 5000, 77, channel=1), wave[5000:5077, 1])
    assert info(lossless_m4a) == AudioInfo(SAMPLES, 16000, 2)
    with pytest.raises(InputError, match="ends early"):
        read(lossless_m4a, 12340, 6)


@needs_ffmpeg
def test_what_ffmpeg_cannot_decode_is_an_error(tmp_path, lossless_m4a):
    (tmp_path / "cut.m4a").write_bytes(lossless_m4a.read_bytes()[:5000])
    (tmp_path / "text.mp3").write_text("hello")
    for name in ("cut.m4a", "text.mp3"):
        with pytest.raises(InputError, match=f"{name}: ffmpeg cannot decode it"):
            read(tmp_path / name)


def test_ffmpeg_that_stops_within_a_sample_is_an_error(tmp_path, monkeypatch):
    stub = tmp_path / "bin" / "ffmpeg"
    stub.parent.mkdir()
    header = r"\056snd\0\0\0\030\377\377\377\377\0\0\0\006\0\0\076\200\0\0\0\001"  # AU, float, 16 kHz, mono
    stub.write_text(f"#!/bin/sh\nprintf '{header}123456'\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(stub.parent))
    (tmp_path / "a.m4a").write_bytes(b"x")
    with pytest.raises(InputError, match="a.m4a: ffmpeg stopped within a sample"):
        read(tmp_path / "a.m4a")


def test_missing_ffmpeg_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    (tmp_path / "a.m4a").write_bytes(b"x")
    with pytest.raises(InputError, match="a.m4a: reading .m4a needs ffmpeg.*apt install ffmpeg"):
        read(tmp_path / "a.m4a")


def test_files_that_are_not_there(tmp_path):
    for name in ("a.wav", "a.flac") + (("a.m4a",) if shutil.which("ffmpeg") else ()):
        with pytest.raises(InputError, match=f"{name}: no such file"):
            read(tmp_path / name)


def test_broken_files_are_errors(tmp_path, folder):
    whole = {suffix: (folder / f"mono.{suffix}").read_bytes() for suffix in ("wav", "flac")}
    broken = {
        "nothing.wav": b"",
        "text.wav": b"hello\n",
        "header.wav": whole["wav"][:30],
        "cut.wav": whole["wav"][:9001],
        "cut.flac": whole["flac"][: len(whole["flac"]) // 2],
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            read(tmp_path / name)


def test_a_cut_off_wav_is_not_taken_for_a_shorter_one(tmp_path, folder):
    (tmp_path / "cut.wav").write_bytes((folder / "mono.wav").read_bytes()[:9001])
    with pytest.raises(InputError, match=r"is cut off \(got 8957 bytes of samples, expected 24690\)"):
        read(tmp_path / "cut.wav", 0, 100)


def test_a_streamed_wav_of_unknown_length_is_whole(tmp_path, folder, wave):
    content = bytearray((folder / "mono.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "streamed.wav").write_bytes(content)
    np.testing.assert_array_equal(read(tmp_path / "streamed.wav"), wave[:, 0])


def test_no_samples_are_an_error(folder):
    with pytest.raises(InputError, match="empty.wav: holds no samples"):
        read(folder / "empty.wav")


def test_samples_must_be_finite(tmp_path):
    soundfile.write(tmp_path / "nan.wav", np.array([0, np.nan, 0]), 16000, subtype="FLOAT")
    with pytest.raises(InputError, match="nan.wav: holds samples that are not finite"):
        read(tmp_path / "nan.wav")
