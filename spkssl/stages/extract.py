"""Stage 4: encoder and data directory -> embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spkssl.errors import complain
from spkssl.stages.run_folder import STATS, UNTRAINED, device_of, embeddings_of, encoder_of, folder_options
from spkssl.stages.settings import Settings, settings_options
from spkssl.stages.stage import Run, made_by, marker, once, require, run_options, say


@click.command()
@settings_options
@run_options
@folder_options
@click.option("--at", default="pretrain", show_default=True, help="pretrain, round<r>, supervised, untrained, ...")
@click.option("--sets", default="train,dev,test", show_default=True, help="Names of data directories, comma separated.")
@click.option("--ngpu", type=click.IntRange(0), default=0, help="0: CPU.")
def extract(settings: Settings, run: Run, exp: Path, data: Path, at: str, sets: str, ngpu: int) -> None:
    """Stage 4: encoder and feats.scp -> one embedding for each utterance, count in = count out."""
    for name in sets.split(","):
        scp = embeddings_of(exp, at, name)
        section = {"extract": settings.section("extract")}
        if at == UNTRAINED:  # made here, from what decides an encoder's first weights
            section |= {key: settings.section(key) for key in ("encoder", "frontend", "features")}
            section["seed"] = settings.seed
        encoder = [] if at in (STATS, UNTRAINED) else [encoder_of(exp, at)]
        feats = data / name / "feats.scp"

        def work(feats: Path = feats, scp: Path = scp) -> dict[str, Any]:
            require([feats], "run stage 2 (features) first")
            require(encoder, f"train it first: {at}")
            return _work(settings, exp, at, feats, scp, device_of(ngpu))

        once(
            run,
            f"extract {at} {name}",
            marker(exp, "extract", at, name),
            settings=section,
            inputs=[*encoder, feats, *made_by(data / name, "features")],
            outputs=[scp],
            work=work,
            log=exp / at / "log" / f"extract.{name}.log",
        )


def _work(settings: Settings, exp: Path, at: str, feats: Path, scp: Path, device: str) -> dict[str, Any]:
    from tqdm import tqdm

    from spkssl.data.embed import batches, embed, mean_and_std
    from spkssl.io.ark import write_ark
    from spkssl.stages.system import build_system

    system = build_system(settings)
    model = mean_and_std if at == STATS else _encoder(system, exp, at, device)
    utterances = _utterances(feats)
    groups = batches(utterances, system.extract.batch_frames)
    embedded = embed(groups, model, device)
    found = dict(tqdm(embedded, total=len(utterances), desc=scp.parent.name, unit="utt", disable=None))
    scp.parent.mkdir(parents=True, exist_ok=True)
    count = write_ark(scp.with_suffix(".ark"), scp, sorted(found.items()))
    if count != len(utterances):
        raise complain(scp, f"{count} embeddings of {len(utterances)} utterances")
    say(f"{count} embeddings of dimension {len(next(iter(found.values())))}")
    return {"utts": count}


def _encoder(system: Any, exp: Path, at: str, device: str) -> Any:
    from spkssl import rng
    from spkssl.data.embed import Eval
    from spkssl.nn.embedder import load_embedder, make_embedder

    if at != UNTRAINED:
        return Eval(load_embedder(encoder_of(exp, at)), device)
    rng.seed_torch(system.seed, "init")  # the weights pretraining starts from
    return Eval(make_embedder(system.encoder, system.frontend_config), device)


def _utterances(feats: Path) -> list[Any]:
    from spkssl.data.embed import Utterance
    from spkssl.io.ark import Reader, read_scp
    from spkssl.io.tables import read_table

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
    return [Utterance(utt, location, frames[utt]) for utt, location in locations.items()]
