"""Decoding many compressed recordings through ffmpeg: in parallel, restartable, the sources untouched."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from spkssl.audio.forecast import Forecast, measure, require_space
from spkssl.audio.read import info
from spkssl.contract import SAMPLE_RATE
from spkssl.errors import InputError, complain

FORMATS = {"wav": ["-c:a", "pcm_s16le", "-f", "wav"], "flac": ["-c:a", "flac", "-sample_fmt", "s16", "-f", "flac"]}
# Seconds that container and samples may differ by: AAC frames of 1024 samples at the start and at the end, 64 ms each.
_TOLERANCE = 0.25
_MEASURED = 64  # files after which time and disk are estimated
_CLAIM = re.compile(r"Duration: (\d+):(\d+):(\d+(?:\.\d+)?)")
_FULL = "No space left on device"


class Decoded(NamedTuple):
    seconds: dict[str, float]  # of what is decoded
    failed: dict[str, str]  # name -> why it is not


def decode(
    sources: Mapping[str, Path],
    places: Mapping[str, Path],
    nj: int,
    *,
    advance: Callable[[int], object] = lambda files: None,
    tell: Callable[[Forecast], object] = lambda forecast: None,
) -> Decoded:
    """Decode each source to its place (16 kHz, mono, 16 bits; its suffix is the format), `nj` at a time.

    What is there already is kept: a file appears only when it is whole. A source that cannot be decoded is among
    `failed`; a disk that fills up, or that will, ends the call. `advance` hears of every file, `tell` of the forecast.
    """
    todo = iter([name for name in sources if not places[name].exists()])
    total = sum(not place.exists() for place in places.values())
    done = Decoded({}, {})
    for name in sources:
        if places[name].exists():
            _keep(done, name, places[name])
            advance(1)
    if not total:
        return done
    program = require_ffmpeg()
    start, first = time.perf_counter(), list(islice(todo, _MEASURED))
    _decode(program, first, sources, places, nj, done, advance)
    written = sum(places[name].stat().st_size for name in first if places[name].exists())
    if total > len(first):
        forecast = measure(len(first), time.perf_counter() - start, written, total - len(first))
        tell(forecast)
        do = "choose another disk by --audio, or read m4a as it is by --no-decode"
        require_space(places[first[0]].parent, forecast.bytes, do)
    _decode(program, todo, sources, places, nj, done, advance)
    return Decoded(dict(sorted(done.seconds.items())), dict(sorted(done.failed.items())))


def require_ffmpeg() -> str:
    program = shutil.which("ffmpeg")
    if program is None:
        raise complain("ffmpeg", "is not installed, and m4a needs it", "install it, e.g. apt install ffmpeg")
    return program


def decode_file(program: str, source: Path, place: Path) -> float:
    """One file; its seconds. An InputError when the source is broken, and with `_FULL` in it when the disk is full."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{threading.get_ident()}.{place.name}")  # the suffix says how to read it
    # "file:" keeps a name with a colon from being taken for a protocol; bitexact leaves out ffmpeg's version.
    command = [program, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info", "-xerror", "-y"]
    command += ["-i", f"file:{source}", "-map", "0:a:0", "-map_metadata", "-1", "-ac", "1", "-ar", str(SAMPLE_RATE)]
    command += [*FORMATS[place.suffix[1:]], "-fflags", "+bitexact", "-flags:a", "+bitexact", f"file:{temporary}"]
    try:
        run = subprocess.run(command, capture_output=True, check=False)
        said = run.stderr.decode(errors="replace")
        if run.returncode:
            raise complain(source, f"ffmpeg cannot decode it ({_complaint(said)})", "fetch the file again")
        found = info(temporary)
        seconds, claim = found.num_samples / SAMPLE_RATE, _CLAIM.search(said)
        if not found.num_samples:
            raise complain(source, "holds no samples", "fetch the file again")
        if claim is not None:
            hours, minutes, rest = map(float, claim.groups())
            expected = 3600 * hours + 60 * minutes + rest
            if abs(seconds - expected) > _TOLERANCE:
                what = f"decodes to another length (got {seconds:.2f} s, expected {expected:.2f} s)"
                raise complain(source, what, "fetch the file again")
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
    return seconds


def _decode(
    program: str,
    names: Iterator[str] | list[str],
    sources: Mapping[str, Path],
    places: Mapping[str, Path],
    nj: int,
    done: Decoded,
    advance: Callable[[int], object],
) -> None:
    """Threads suffice: each waits for an ffmpeg of its own. They take names in turn, so that none are queued up."""
    names, lock, stop = iter(names), threading.Lock(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            with lock:
                name = next(names, None)
            if name is None:
                return
            try:
                seconds = decode_file(program, sources[name], places[name])
            except InputError as error:
                if _FULL in str(error):
                    do = "free some space; the same command goes on"
                    raise complain(places[name].parent, "the disk is full", do) from None
                with lock:
                    done.failed[name] = str(error)
            else:
                with lock:
                    done.seconds[name] = seconds
            with lock:
                advance(1)

    def guarded() -> None:
        try:
            work()
        finally:
            stop.set()  # nothing is left to take, or there is no use in going on

    with ThreadPoolExecutor(nj) as pool:
        try:
            for future in [pool.submit(guarded) for _ in range(nj)]:
                future.result()
        finally:
            stop.set()


def _keep(done: Decoded, name: str, place: Path) -> None:
    try:
        done.seconds[name] = info(place).num_samples / SAMPLE_RATE
    except InputError as error:  # not by this toolkit: its files appear whole
        done.failed[name] = str(error)


def _complaint(said: str) -> str:
    """The most telling of ffmpeg's lines."""
    if _FULL in said:
        return _FULL
    errors = [line for line in said.splitlines() if "[error]" in line or "[fatal]" in line]
    return re.sub(r"\[[^]]*\] ?", "", errors[0]).strip() if errors else "it does not say why"
