"""Stage 4: encoder and data directory -> embeddings."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import accumulate
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any, NamedTuple

import click

from spkssl.errors import InputError, complain
from spkssl.io import markers
from spkssl.stages.job import parse_job
from spkssl.stages.run_folder import STATS, UNTRAINED, embeddings_of, encoder_of, folder_options
from spkssl.stages.settings import Settings, settings_options
from spkssl.stages.stage import Run, made_by, marker, once, require, run_options, say


class _Piece(NamedTuple):
    """The embeddings of one set."""

    settings: Settings
    exp: Path
    at: str
    feats: Path
    scp: Path
    ngpu: int
    signature: str  # of all that decides the embeddings
    tells: int = 0  # the shard that says how long it takes, where several are made at a time; 0: each does


@click.command()
@settings_options
@run_options
@folder_options
@click.option(
    "--at", default="pretrain", show_default=True, help="pretrain, round<r>, supervised, untrained, fbank_stats."
)
@click.option("--sets", default="train,dev,test", show_default=True, help="Names of data directories, comma separated.")
@click.option("--ngpu", type=click.IntRange(0), default=0, help="0: CPU. Shards take the GPUs in turn.")
@click.option("--nj", type=click.IntRange(1), default=1, show_default=True, help="Processes; never changes a byte.")
@click.option("--job", metavar="I/N", help="Make shard I of N only; the last one to finish merges.")
def extract(
    settings: Settings, run: Run, exp: Path, data: Path, at: str, sets: str, ngpu: int, nj: int, job: str | None
) -> None:
    """Stage 4: encoder and feats.scp -> one embedding for each utterance, count in = count out."""
    number, jobs = parse_job(job) if job else (0, nj)  # 0: all
    for name in sets.split(","):
        scp = embeddings_of(exp, at, name)
        section = {"extract": settings.section("extract")}
        if at == UNTRAINED:  # made here, from what decides an encoder's first weights
            section |= {key: settings.section(key) for key in ("encoder", "frontend", "features")} | {
                "seed": settings.seed
            }
        encoder = [] if at in (STATS, UNTRAINED) else [encoder_of(exp, at)]
        feats = data / name / "feats.scp"
        inputs = [*encoder, feats, *made_by(data / name, "features")]
        mark, title = marker(exp, "extract", at, name), f"extract {at} {name}"
        made_from = markers.recipe(section, inputs)
        piece = _Piece(settings, exp, at, feats, scp, ngpu, made_from.hash(mark))

        def work(piece: _Piece = piece) -> dict[str, Any]:
            return _work(piece, jobs, keep_shards=bool(number))

        def check(piece: _Piece = piece, encoder: list[Path] = encoder) -> None:
            require([piece.feats], "run stage 2 (features) first")
            require(encoder, f"train it first: {at}")
            _batch_frames(piece)

        if number and not run.dry_run and (run.force or markers.stale(mark, made_from)):
            check()
            left = _one_shard(piece, number, jobs, run.force)
            say(f"{title}: shard {number} of {jobs} is done, {left} to go")
            if left:
                continue
        log = exp / at / "log" / f"extract.{name}.log"
        once(run, title, mark, settings=section, inputs=inputs, outputs=[scp], work=work, log=log, check=check)


def _work(piece: _Piece, jobs: int, keep_shards: bool) -> dict[str, Any]:
    from spkssl.data import embed_shards

    shards = _plan(piece, jobs)
    todo = [shard.job for shard in shards if not shard.finished()]
    if len(todo) > 1:
        _in_processes(piece, jobs, todo)
    elif todo:
        _make(piece, jobs, todo[0], _progress(piece, shards[todo[0] - 1].count))
    (count, dimension), expected = embed_shards.merge(shards, piece.scp), sum(shard.count for shard in shards)
    if count != expected:
        raise complain(piece.scp, f"{count} embeddings of {expected} utterances")
    if not keep_shards:  # another job may be merging them at this moment
        embed_shards.sweep(piece.scp)
    say(f"{count} embeddings of dimension {dimension}")
    return {"utts": count}


def _one_shard(piece: _Piece, number: int, jobs: int, force: bool) -> int:
    """Make shard `number`; how many are still to be made."""
    shards = _plan(piece, jobs)
    for shard in shards[number - 1 : number]:  # none where there are more jobs than batches
        if force or not shard.finished():
            _make(piece, jobs, number, _progress(piece, shard.count))
    return sum(not shard.finished() for shard in shards)


def _plan(piece: _Piece, jobs: int) -> list[Any]:
    from spkssl.data import embed_shards
    from spkssl.data.embed import batches

    groups = batches(_utterances(piece), _batch_frames(piece))
    return embed_shards.plan(groups, piece.scp, jobs, piece.signature)


def _batch_frames(piece: _Piece) -> int:
    from spkssl.stages.system import build_system

    return build_system(piece.settings).extract.batch_frames


def _make(piece: _Piece, jobs: int, number: int, advance: Callable[[], object]) -> None:
    from spkssl.data.embed import mean_and_std

    device = _device(piece.ngpu, number)
    model = mean_and_std if piece.at == STATS else _encoder(piece, device)
    shard = _plan(piece, jobs)[number - 1]
    if piece.tells in (0, number):
        advance = _foretelling(piece, shard, advance)
    shard.make(model, device, advance)


def _foretelling(piece: _Piece, shard: Any, advance: Callable[[], object]) -> Callable[[], object]:
    """`advance` that says after a while how long the shard takes: as long as all those beside it."""
    from spkssl.audio.forecast import Pace, duration

    # By frames and not by utterances, as the short ones come first.
    frames = accumulate(utterance.frames for batch in shard.batches for utterance in batch)
    total = sum(utterance.frames for batch in shard.batches for utterance in batch)
    pace = Pace(total, lambda seconds: say(f"extract {piece.at} {piece.scp.parent.name}: about {duration(seconds)}"))

    def further() -> None:
        pace(next(frames))
        advance()

    return further


def _progress(piece: _Piece, total: int) -> Callable[[], object]:
    from tqdm import tqdm

    return tqdm(total=total, desc=piece.scp.parent.name, unit="utt", disable=None).update


def _in_processes(piece: _Piece, jobs: int, todo: list[int]) -> None:
    """Every shard in a process of its own, with as many threads as this one has: their number decides rounding."""
    context = get_context("spawn")  # torch's threads do not survive a fork
    workers: dict[connection.Connection, tuple[int, Any]] = {}
    piece = piece._replace(tells=todo[0])
    for number in todo:
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_worker, args=(piece, jobs, number, theirs, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        workers[mine] = (number, process)
    died = []
    try:
        while workers:
            for mine in connection.wait(list(workers)):
                number, process = workers.pop(mine)
                problem = _message(mine)
                process.join()
                if problem:
                    raise InputError(problem)
                if process.exitcode:
                    died.append(f"{number} (exit status {process.exitcode})")
    finally:
        for _, process in workers.values():
            process.terminate()
    if died:
        what = f"shards of {jobs} that died: {', '.join(died)}"
        raise complain(piece.scp.parent, what, "see the messages above; the same command runs only these again")


def _message(end: connection.Connection) -> str:
    try:
        return end.recv()
    except EOFError:
        return ""


def _worker(piece: _Piece, jobs: int, number: int, end: connection.Connection, parent: int) -> None:
    def stop_if_alone() -> None:
        if os.getppid() != parent:  # killed without a chance to stop us; the next call makes this shard, too
            raise SystemExit(1)

    try:
        _make(piece, jobs, number, stop_if_alone)
    except InputError as error:
        end.send(str(error))


def _device(ngpu: int, number: int) -> str:
    """cpu, or the GPU of this shard: those of this machine in turn."""
    if not ngpu:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        raise complain("--ngpu", f"{ngpu} GPUs asked for, none found by torch", "run with --ngpu 0")
    index = (number - 1) % min(ngpu, torch.cuda.device_count())
    torch.cuda.set_device(index)
    return f"cuda:{index}"


def _encoder(piece: _Piece, device: str) -> Any:
    from spkssl import rng
    from spkssl.data.embed import Eval
    from spkssl.nn.embedder import load_embedder, make_embedder
    from spkssl.stages.system import build_system

    if piece.at != UNTRAINED:
        return Eval(load_embedder(encoder_of(piece.exp, piece.at)), device)
    system = build_system(piece.settings)
    rng.seed_torch(system.seed, "init")  # the weights pretraining starts from
    return Eval(make_embedder(system.encoder, system.frontend_config), device)


def _reads_waves(piece: _Piece) -> bool:
    """What an encoder was trained on, its own file knows, whatever the YAML says by now."""
    from spkssl.nn.embedder import reads_waves, takes_waves
    from spkssl.stages.system import build_system

    if piece.at == STATS:
        return False
    if piece.at == UNTRAINED:
        return takes_waves(build_system(piece.settings).encoder)
    return reads_waves(encoder_of(piece.exp, piece.at))


def _utterances(piece: _Piece) -> list[Any]:
    """Features, or recordings where the encoder itself reads waves; lengths are those of the features."""
    from spkssl.contract import SAMPLE_RATE
    from spkssl.data.embed import Utterance
    from spkssl.io.ark import Reader, read_scp
    from spkssl.io.datadir import DataDir
    from spkssl.io.tables import read_table

    feats = piece.feats
    locations = read_scp(feats)
    if not locations:
        raise complain(feats, "lists no utterance")
    counts = feats.parent / "utt2num_frames"
    if counts.exists():
        frames = {utt: int(count) for utt, count in read_table(counts).items()}
    else:
        reader = Reader()
        frames = {utt: reader.shape(location)[0] for utt, location in locations.items()}
    missing = [utt for utt in locations if utt not in frames]
    if missing:
        raise complain(counts, f"has no {missing[0]} ({len(missing)} missing)", "run stage 2 (features) again")
    if not _reads_waves(piece):
        return [Utterance(utt, location, frames[utt]) for utt, location in locations.items()]
    data = DataDir(feats.parent)
    found = {utt: data.audio(utt) for utt in locations}
    return [Utterance(utt, str(e.path), frames[utt], round(e.start * SAMPLE_RATE)) for utt, e in found.items()]
