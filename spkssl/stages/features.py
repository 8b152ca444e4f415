"""Stage 2: features of a data directory, by processes of this machine or by jobs of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spkssl.io import markers
from spkssl.stages.job import parse_job
from spkssl.stages.settings import Settings, settings_options
from spkssl.stages.stage import DIRECTORY, Run, marker, once, require, run_options, say


@click.command()
@settings_options
@run_options
@click.option("--data", type=DIRECTORY, required=True, help="Data directory with wav.scp (and segments).")
@click.option("--out", type=DIRECTORY, help="Where the archives go (default: <data>/feats).")
@click.option("--nj", type=click.IntRange(1), default=1, show_default=True, help="Processes, a shard each.")
@click.option("--job", metavar="I/N", help="Make shard I of N only; the last one to finish merges.")
@click.option("--compress", type=click.Choice(["none", "kaldi"]), help="How archives are compressed.")
@click.option("--vad/--no-vad", default=None, help="Also write vad.scp.")
@click.option("--resample/--no-resample", default=None, help="Accept other sample rates than the features' own.")
@click.option("--quarantine", is_flag=True, help="Take unreadable utterances out of the set instead of stopping.")
def features(
    settings: Settings,
    run: Run,
    data: Path,
    out: Path | None,
    nj: int,
    job: str | None,
    compress: str | None,
    vad: bool | None,
    resample: bool | None,
    quarantine: bool,
) -> None:
    """Stage 2: wav.scp -> feats.scp, utt2num_frames, utt2dur and archives of log-mel features.

    The section `features` of the YAML has Kaldi's fbank options under `fbank`, and compress, vad, vad_options,
    resample, channel. Shards that are finished are kept when the command is given again.
    """
    if not run.dry_run:
        require([data / "wav.scp"], "prepare the data directory first")
    flags = {"compress": compress, "vad": vad, "resample": resample}
    given = {name: value for name, value in flags.items() if value is not None}
    section = {**settings.section("features"), **given}
    number, jobs = parse_job(job) if job else (0, nj)  # 0: all
    inputs = [path for path in (data / "wav.scp", data / "segments") if path.exists()]
    tables = ["feats.scp", "utt2num_frames", "utt2dur", *(["vad.scp"] if section.get("vad") else [])]
    outputs = [data / name for name in tables]
    # nj is left out, as it changes nothing; so is the seed, unless the features are random
    recipe = {"features": section, "out": str(out.resolve()) if out else ""}
    if (section.get("fbank") or {}).get("dither"):
        recipe["seed"] = settings.seed
    mark, title = marker(data, "features"), f"features {data}"

    def plan() -> list[Any]:
        return _plan(settings, section, data, out or data / "feats", jobs)

    def check() -> None:
        _typed(settings, section)

    def work() -> dict[str, Any]:
        return _work(plan(), data, quarantine, run.force and not job)

    if number and not run.dry_run and (run.force or markers.stale(mark, markers.recipe(recipe, inputs))):
        made = plan()
        mark.unlink(missing_ok=True)
        left = _one_shard(made, number, quarantine, run.force)
        say(f"{title}: shard {number} of {jobs} is done, {left} to go")
        if left:
            return
    if once(run, title, mark, settings=recipe, inputs=inputs, outputs=outputs, work=work, check=check):
        found = markers.read(mark)
        if found["quarantined"]:
            facts = {name: value for name, value in found.items() if name not in markers.ABOUT}
            # The work took utterances out of its own input; what is left there is what the features are made from.
            markers.write(mark, markers.recipe(recipe, inputs), outputs, facts)


def _plan(settings: Settings, section: dict[str, Any], data: Path, out: Path, jobs: int) -> list[Any]:
    from spkssl.audio import shards

    return shards.plan(data, out, _typed(settings, section), jobs, settings.seed)


def _typed(settings: Settings, section: dict[str, Any]) -> Any:
    from spkssl import config
    from spkssl.audio.extract import FeaturesConfig

    return config.build(FeaturesConfig, section, f"{settings.source}: features")


def _one_shard(plan: list[Any], number: int, quarantine: bool, force: bool) -> int:
    """Make shard `number`; how many are still to be made."""
    from spkssl.audio import shards

    mine = [shard for shard in plan if shard.job == number]  # none where there are more jobs than utterances
    if not quarantine:
        shards.require_recordings(mine)
    for shard in mine:
        _foretell(shard.data, mine, force)
    shards.make_shards(mine, force)
    return len(shards.unfinished(plan))


def _foretell(data: Path, plan: list[Any], force: bool) -> None:
    """Before long work say what it takes, and refuse it where the disk is too small."""
    from spkssl.audio import shards
    from spkssl.audio.forecast import require_space

    found = shards.forecast(plan if force else shards.unfinished(plan))
    if found is not None:
        say(f"features {data}: {found}")
        require_space(plan[0].out, found.bytes, "choose another disk by --out, or --compress kaldi, a quarter of it")


def _work(plan: list[Any], data: Path, quarantine: bool, force: bool) -> dict[str, Any]:
    from spkssl.audio import shards

    if not quarantine:
        shards.require_recordings(plan)
    _foretell(data, plan, force)
    shards.make_shards(plan, force)
    found = shards.merge(data, plan, quarantine)
    say(f"features {data}: {found.utts} utterances, {found.frames} frames, {found.hours:.2f} hours")
    if found.failed:
        say(f"features {data}: {len(found.failed)} utterances taken out, see {data / 'quarantine.features'}")
    counts = {"utts": found.utts, "frames": found.frames, "quarantined": len(found.failed)}
    return {**counts, "hours": round(found.hours, 4)}
