"""Joining short utterances of a speaker into longer ones, as wespeaker's CN-Celeb recipe and Kaldi do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from spkssl.audio.forecast import Forecast, measure, require_space
from spkssl.audio.read import info
from spkssl.contract import SAMPLE_RATE
from spkssl.errors import complain
from spkssl.io.atomic import open_atomic

_MEASURED = 64  # files after which time and disk are estimated
_SLACK = 1e-5  # seconds: so little shorter is not shorter


def join_groups(seconds: Sequence[float], least: float) -> list[list[int]]:
    """Neighbours that belong together so that no group is shorter than `least`, unless all together are.

    From the last to the first: what is too short joins the left, unless there is none, or unless the right one only
    just suffices by itself and is the better partner.
    """
    groups, totals = [[k] for k in range(len(seconds))], list(seconds)
    for k in reversed(range(len(seconds))):
        if totals[k] >= least - _SLACK or len(groups) == 1:
            continue
        # Everything on the right is long enough by now.
        left = k > 0 and (
            k + 1 == len(groups)
            or totals[k + 1] > least + _SLACK
            or (totals[k - 1] + totals[k] >= least - _SLACK and totals[k - 1] < totals[k + 1])
        )
        begin = k - 1 if left else k
        groups[begin : begin + 2] = [groups[begin] + groups[begin + 1]]
        totals[begin : begin + 2] = [totals[begin] + totals[begin + 1]]
    return groups


def join_files(
    places: Mapping[Path, Sequence[Path]],
    samples: Mapping[Path, int],
    nj: int = 1,
    tell: Callable[[Forecast], object] = lambda forecast: None,
) -> None:
    """Write each place, a FLAC file of 16 bits, from its sources one after another; what is there and whole is kept.

    `samples`: of each source. The same bytes for any `nj`. `tell` hears what it will take, once the first are made; a
    disk that is too small for the others ends the call.
    """
    lengths = {place: sum(samples[source] for source in places[place]) for place in sorted(places)}
    todo = [place for place, wanted in lengths.items() if not (place.exists() and info(place).num_samples == wanted)]

    def make(place: Path) -> None:
        pcm = np.concatenate([_pcm(source) for source in places[place]])
        with open_atomic(place, "wb") as file:
            soundfile.write(file, pcm, SAMPLE_RATE, "PCM_16", format="FLAC")

    start, first, rest = time.perf_counter(), todo[:_MEASURED], todo[_MEASURED:]
    with ThreadPoolExecutor(nj) as pool:
        for _ in pool.map(make, first):
            pass
        if rest:
            written = sum(place.stat().st_size for place in first)
            done, left = (sum(lengths[place] for place in part) for part in (first, rest))
            forecast = measure(done, time.perf_counter() - start, written, left)
            tell(forecast)
            require_space(rest[0].parent, forecast.bytes, "choose another disk by --audio")
        for _ in pool.map(make, rest):
            pass


def _pcm(path: Path) -> np.ndarray:
    """(samples,) 16 bits, the first channel."""
    try:
        pcm, rate = soundfile.read(str(path), dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        what = f"not readable as audio ({error.error_string.rstrip('.')})"
        raise complain(path, what, "fetch or convert the file again") from None
    if rate != SAMPLE_RATE:
        raise complain(path, f"wrong sample rate (got {rate} Hz, expected {SAMPLE_RATE} Hz)", "resample it")
    return pcm[:, 0]
