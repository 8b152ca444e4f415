"""Reading recordings: one channel as float32 in +-1, whole or a part of it.

WAV, FLAC, Ogg and the like are read by libsndfile, which seeks; every other container is decoded by ffmpeg, from its
beginning. ffmpeg is called with a list of arguments, never through a shell.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from spkssl.contract import SAMPLE_RATE
from spkssl.errors import InputError, complain

_SOUNDFILE = {".wav", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".w64", ".rf64"}
_STREAMED = 0x7FFF0000  # bytes; writers that cannot seek back claim this much data or more
_AU_HEADER = struct.Struct(">4s5I")  # magic, offset of the data, size, encoding, rate, channels


class AudioInfo(NamedTuple):
    num_samples: int  # per channel, at the file's own rate
    sample_rate: int
    channels: int


def info(path: str | Path) -> AudioInfo:
    """From the header; a container that only ffmpeg reads is decoded, since its header is not exact."""
    if _by_soundfile(path):
        with _open(path) as file:
            return AudioInfo(file.frames, file.samplerate, file.channels)
    samples, rate = _ffmpeg(path, 0, None)
    return AudioInfo(len(samples), rate, samples.shape[1])


def read(
    path: str | Path,
    start: int = 0,
    count: int | None = None,
    *,
    sample_rate: int = SAMPLE_RATE,
    channel: int = 0,
    resample: bool = False,
    slack: int = 0,
) -> NDArray[np.float32]:
    """Samples [start, start + count) of one channel, (count,); None: up to the end.

    A file of another rate is an InputError unless `resample`; then start and count refer to the new rate, and the
    whole file is read. The end may lie at most `slack` samples behind the file's end: what is there is returned.
    """
    if start < 0 or slack < 0 or (count is not None and count < 1):
        raise ValueError(f"cannot read {count} samples from {start} with slack {slack}")
    decode = _soundfile if _by_soundfile(path) else _ffmpeg
    samples, rate = decode(path, start, count)  # (n, channels)
    if rate != sample_rate:
        if not resample:
            what = f"wrong sample rate (got {rate} Hz, expected {sample_rate} Hz)"
            raise complain(path, what, "resample it, or have it done by --resample")
        samples, rate = decode(path, 0, None)
    if not 0 <= channel < samples.shape[1]:
        raise complain(path, f"has no channel {channel} (got {samples.shape[1]} channels, counted from 0)")
    wave = np.ascontiguousarray(samples[:, channel])
    if rate != sample_rate:
        wave = _resample(wave, rate, sample_rate)[start : None if count is None else start + count]
    if len(wave) == 0 and start == 0:
        raise complain(path, "holds no samples", "remove it from the set")
    if len(wave) == 0 or (count is not None and len(wave) < count - slack):
        wanted = f"[{start}, {'end' if count is None else start + count})"
        raise complain(path, f"ends early (got {len(wave)} samples, expected samples {wanted})")
    if not np.isfinite(wave).all():
        raise complain(path, "holds samples that are not finite numbers", "convert it again from its source")
    return wave


def _by_soundfile(path: str | Path) -> bool:
    return Path(path).suffix.lower() in _SOUNDFILE


def _open(path: str | Path) -> soundfile.SoundFile:
    if not Path(path).is_file():
        raise complain(path, "no such file")
    try:
        file = soundfile.SoundFile(str(path))
    except soundfile.LibsndfileError as error:
        raise _broken(path, error) from None
    # libsndfile reads a WAV that was cut off as if it were whole; only its log says what the header claims.
    cut = re.search(r"^data\s*: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    if cut and int(cut[2]) < int(cut[1]) < _STREAMED:
        file.close()
        raise complain(path, f"is cut off (got {cut[2]} bytes of samples, expected {cut[1]})", "fetch the file again")
    return file


def _soundfile(path: str | Path, start: int, count: int | None) -> tuple[NDArray[np.float32], int]:
    with _open(path) as file:
        there = max(0, file.frames - start)
        wanted = there if count is None else min(count, there)
        if not wanted:
            return np.zeros((0, file.channels), np.float32), file.samplerate
        try:
            file.seek(start)
            samples = file.read(wanted, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _broken(path, error) from None
        if len(samples) < wanted:
            raise complain(path, f"is cut off (got {start + len(samples)} samples, expected {file.frames})")
        return samples, file.samplerate


def _ffmpeg(path: str | Path, start: int, count: int | None) -> tuple[NDArray[np.float32], int]:
    program = shutil.which("ffmpeg")
    if program is None:
        kind = Path(path).suffix or "a file without suffix"
        what = f"reading {kind} needs ffmpeg, which is not installed"
        raise complain(path, what, "install it, e.g. apt install ffmpeg")
    if not Path(path).is_file():
        raise complain(path, "no such file")
    trim = f"atrim=start_sample={start}" + ("" if count is None else f":end_sample={start + count}")
    # "file:" keeps a name with a colon from being taken for a protocol. AU because its header can be streamed.
    command = [program, "-nostdin", "-v", "error", "-xerror", "-i", f"file:{path}", "-map", "0:a:0"]
    command += ["-af", trim, "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode or len(done.stdout) < _AU_HEADER.size:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no audio in it"]
        raise complain(path, f"ffmpeg cannot decode it ({lines[-1]})", "fetch or convert the file again")
    _, offset, _, _, rate, channels = _AU_HEADER.unpack_from(done.stdout)
    if (len(done.stdout) - offset) % (4 * max(channels, 1)):
        raise complain(path, f"ffmpeg stopped within a sample ({len(done.stdout)} bytes came)", "run it again")
    samples = np.frombuffer(done.stdout, ">f4", offset=offset).astype(np.float32)
    return samples.reshape(-1, channels), rate


def _resample(wave: NDArray[np.float32], rate: int, new_rate: int) -> NDArray[np.float32]:
    import torch
    from torchaudio.functional import resample

    return resample(torch.from_numpy(wave), rate, new_rate).numpy()


def _broken(path: str | Path, error: soundfile.LibsndfileError) -> InputError:
    what = f"not readable as audio ({error.error_string.rstrip('.')})"
    return complain(path, what, "fetch or convert the file again")
