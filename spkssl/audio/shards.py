"""Features of a whole data directory: shards made by processes or cluster jobs, then merged into its tables.

A shard is a block of the sorted utterances. Its archives appear at once or not at all, and its record is written
last; a finished shard is kept by later calls as long as its recordings and settings are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from spkssl import __version__
from spkssl.audio.extract import Extractor, FeaturesConfig, Source, read_sources
from spkssl.audio.forecast import Forecast, measure
from spkssl.audio.quarantine import take_out
from spkssl.config import to_dict
from spkssl.errors import InputError, complain, some
from spkssl.io.ark import write_ark
from spkssl.io.atomic import write_json
from spkssl.io.tables import read_table, write_table

_LONG = 5000  # utterances: fewer are done before an estimate is of use
_MEASURED = 16
_POLL = 0.2  # seconds between looks at the progress of the other processes


class Summary(NamedTuple):
    utts: int
    frames: int
    hours: float
    failed: dict[str, str]  # utterance -> why it has no features


@dataclass(frozen=True)
class Shard:
    """Block number `job` of `jobs`, counted from 1."""

    data: Path
    out: Path
    job: int
    sources: tuple[Source, ...]
    config: FeaturesConfig
    seed: int

    def file(self, name: str) -> Path:
        stem, suffix = name.split(".")
        return self.out / f"raw_{stem}.{self.job}.{suffix}"

    @cached_property
    def signature(self) -> str:
        """A hash of all that decides the shard's content."""
        settings = [__version__, to_dict(self.config), self.seed if self.config.fbank.dither else 0]
        stats = {path: _stat(path) for path in {source.path for source in self.sources}}
        made_from = [settings, [[*source, *stats[source.path]] for source in self.sources]]
        return hashlib.blake2b(json.dumps(made_from).encode(), digest_size=16).hexdigest()

    def record(self) -> dict[str, Any] | None:
        """What the finished shard holds; None where it is not finished or was made from something else."""
        record = _load(self.file("fbank.json"))
        if record.get("data") != str(self.data) or record["signature"] != self.signature:
            return None
        whole = all(_stat(self.out / name)[0] == size for name, size in record["sizes"].items())
        return record if whole else None


def plan(data: Path, out: Path, config: FeaturesConfig, jobs: int, seed: int = 0) -> list[Shard]:
    """Contiguous blocks of the sorted utterances, their sizes differing by one at most."""
    sources = read_sources(data)
    jobs = min(jobs, len(sources))
    edges = [len(sources) * job // jobs for job in range(jobs + 1)]
    blocks = [tuple(sources[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
    data, out = data.resolve(), out.resolve()
    return [Shard(data, out, job, block, config, seed) for job, block in enumerate(blocks, 1)]


def unfinished(shards: list[Shard]) -> list[Shard]:
    return [shard for shard in shards if shard.record() is None]


def require_recordings(shards: list[Shard]) -> None:
    """An InputError naming the recordings that do not exist: better now than after hours."""
    missing = [source.path for shard in shards for source in shard.sources if not Path(source.path).is_file()]
    if missing:
        what = f"{len(missing)} recordings do not exist: {some(missing)}"
        do = "correct it, or go on without them by --quarantine"
        raise complain(shards[0].data / "wav.scp", what, do)


def make_shard(shard: Shard, tick: Callable[[], None] = lambda: None) -> None:
    """Write the archives and then the record of one shard, on one thread; `tick` is called for every utterance."""
    owner = _load(shard.file("fbank.json")).get("data", str(shard.data))
    if owner != str(shard.data):
        raise complain(shard.out, f"holds the archives of {owner}", "choose another folder by --out")
    shard.file("fbank.json").unlink(missing_ok=True)
    for litter in shard.out.glob(f".raw_*.{shard.job}.*.tmp"):  # of a call that was killed
        litter.unlink(missing_ok=True)
    frames: dict[str, int] = {}
    seconds: dict[str, float] = {}
    failed: dict[str, str] = {}
    speech: dict[str, NDArray[np.bool_]] = {}

    def rows() -> Iterator[tuple[str, NDArray[np.float32]]]:
        extract = Extractor(shard.config, shard.seed)
        for source in shard.sources:
            try:
                found = extract(source)
            except InputError as error:
                failed[source.utt] = str(error)
            else:
                frames[source.utt], seconds[source.utt] = len(found.mels), found.seconds
                if found.voiced is not None:
                    speech[source.utt] = found.voiced
                yield source.utt, found.mels
            tick()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        write_ark(shard.file("fbank.ark"), shard.file("fbank.scp"), rows(), compress=shard.config.compress)
    finally:
        torch.set_num_threads(threads)
    names = ["fbank.ark", "fbank.scp"]
    if shard.config.vad:
        marks = ((utt, voiced.astype(np.float32)) for utt, voiced in speech.items())
        write_ark(shard.file("vad.ark"), shard.file("vad.scp"), marks)
        names += ["vad.ark", "vad.scp"]
    sizes = {shard.file(name).name: _stat(shard.file(name))[0] for name in names}
    record = {"data": str(shard.data), "signature": shard.signature, "sizes": sizes}
    write_json(shard.file("fbank.json"), {**record, "frames": frames, "seconds": seconds, "failed": failed})


def make_shards(shards: list[Shard], force: bool = False) -> None:
    """Make what is not finished, each shard in a process of its own, a single one in this process.

    Finished shards that lack an utterance are made again when it can be read by now. Progress goes to a terminal only.
    """
    todo = [shard for shard in shards if force or (record := shard.record()) is None or _mended(shard, record)]
    for shard in todo:
        for name in ("feats.scp", "vad.scp") if shard.config.vad else ("feats.scp",):
            (shard.data / name).unlink(missing_ok=True)  # they point into archives that are about to change
    total = sum(len(shard.sources) for shard in todo)
    with tqdm(total=total, unit="utt", desc="features", disable=None) as bar:
        if len(todo) == 1:
            make_shard(todo[0], bar.update)
        elif todo:
            _in_processes(todo, bar)


def forecast(todo: list[Shard]) -> Forecast | None:
    """What these shards take, a process for each, told from the first utterances; None if that is little."""
    total = sum(len(shard.sources) for shard in todo)
    if total < _LONG:
        return None
    extract, measured, written = Extractor(todo[0].config, todo[0].seed), 0, 0
    start = time.perf_counter()
    for source in todo[0].sources[:_MEASURED]:
        try:
            mels = extract(source).mels
        except InputError:  # named when its shard is made
            continue
        measured += 1
        written += mels.nbytes if todo[0].config.compress == "none" else mels.size
    if not measured:
        return None
    found = measure(measured, time.perf_counter() - start, written, total)
    return found._replace(seconds=found.seconds / len(todo))


def merge(data: Path, shards: list[Shard], quarantine: bool = False) -> Summary:
    """Write feats.scp, utt2num_frames, utt2dur and, with vad, vad.scp from finished shards.

    Utterances without features are an InputError. With `quarantine` they are taken out of the set's tables and
    named with the reason in `quarantine.features`; the tables as they were go to `.backup`.
    """
    frames: dict[str, int] = {}
    seconds: dict[str, float] = {}
    failed: dict[str, str] = {}
    tables: dict[str, dict[str, str]] = {"feats.scp": {}, **({"vad.scp": {}} if shards[0].config.vad else {})}
    for shard in shards:
        record = shard.record()
        if record is None:
            raise complain(shard.file("fbank.json"), "this shard is not finished", "run its job first")
        frames |= record["frames"]
        seconds |= record["seconds"]
        failed |= record["failed"]
        for name, table in tables.items():
            table |= read_table(shard.file("fbank.scp" if name == "feats.scp" else name))
    wanted = {source.utt for shard in shards for source in shard.sources}
    for name, table in tables.items():
        if table.keys() != frames.keys() or len(table) + len(failed) != len(wanted):
            raise RuntimeError(f"{data / name}: {len(wanted)} in, {len(table)} and {len(failed)} failures out")
    if failed and (not quarantine or not frames):
        reasons = (f"{utt} ({reason})" for utt, reason in failed.items())
        what = f"{len(failed)} of {len(wanted)} utterances have no features: {some(reasons)}"
        raise complain(data, what, "mend them, or go on without them by --quarantine" if frames else "")
    for name, table in tables.items():
        write_table(data / name, table)
    write_table(data / "utt2num_frames", frames)
    write_table(data / "utt2dur", {utt: repr(round(value, 7)) for utt, value in seconds.items()})
    if failed:
        take_out(data, failed, data / "quarantine.features")
    _sweep(shards)
    return Summary(len(frames), sum(frames.values()), sum(seconds.values()) / 3600, failed)


def _mended(shard: Shard, record: dict[str, Any]) -> bool:
    if not record["failed"]:
        return False
    extract = Extractor(shard.config, shard.seed)
    for source in shard.sources:
        if source.utt in record["failed"]:
            try:
                extract(source)
            except InputError:
                continue
            return True
    return False


def _sweep(shards: list[Shard]) -> None:
    """Remove the shards an earlier call made in excess of these."""
    job = len(shards) + 1
    while _load(record := shards[0].out / f"raw_fbank.{job}.json").get("data") == str(shards[0].data):
        for name in _load(record)["sizes"]:
            (shards[0].out / name).unlink(missing_ok=True)
        record.unlink()
        job += 1


def _in_processes(shards: list[Shard], bar: tqdm) -> None:
    context = get_context("spawn")  # torch's threads do not survive a fork
    count = context.Value("q", 0)
    workers = {}
    for shard in shards:
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_worker, args=(shard, count, theirs, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        workers[mine] = (shard, process)
    try:
        while workers:
            for mine in connection.wait(list(workers), timeout=_POLL):
                shard, process = workers.pop(mine)
                _finish(shard, process, mine)
            bar.update(count.value - bar.n)
    finally:
        for _, process in workers.values():
            process.terminate()


def _finish(shard: Shard, process: Any, end: connection.Connection) -> None:
    try:
        problem = end.recv()
    except EOFError:
        problem = None
    process.join()
    if problem:
        raise InputError(problem)
    if process.exitcode:
        raise RuntimeError(f"the process of shard {shard.job} ended with {process.exitcode}; its message is above")


def _worker(shard: Shard, count: Any, end: connection.Connection, parent: int) -> None:
    def stop_if_alone() -> None:
        if os.getppid() != parent:  # killed without a chance to stop us; the next call makes this shard, too
            raise SystemExit(1)

    def tick() -> None:
        stop_if_alone()
        with count.get_lock():
            count.value += 1

    stop_if_alone()
    try:
        make_shard(shard, tick)
    except InputError as error:
        end.send(str(error))


def _load(path: Path) -> dict[str, Any]:
    """A record as it is, {} where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _stat(path: str | Path) -> tuple[int, int]:
    """Size and time of change; (-1, 0) for a file that is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return -1, 0
    return found.st_size, found.st_mtime_ns
