"""Stage 1 of the VoxCeleb recipe: the corpora as distributed -> data/{train,dev,test,noise,rir,rir_real}."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spkssl.cli import run_command
from spkssl.errors import InputError
from spkssl.stages.stage import DIRECTORY, Run, marker, once, run_options, say

_ALL = "vox1-o,vox1-o-clean,vox1-e,vox1-e-clean,vox1-h,vox1-h-clean"
_SETS = ("train", "dev", "test", "noise", "rir", "rir_real")


@click.command()
@click.option("--vox1", type=DIRECTORY, required=True, help="voxceleb1, with dev/wav and test/wav.")
@click.option("--vox2", type=DIRECTORY, required=True, help="voxceleb2, with dev/aac and test/aac.")
@click.option("--musan", type=DIRECTORY, required=True, help="musan, with music, noise and speech.")
@click.option("--rirs", type=DIRECTORY, required=True, help="RIRS_NOISES, with simulated_rirs and real_rirs_....")
@click.option("--lists", type=DIRECTORY, required=True, help="Folder of veri_test.txt, list_test_all.txt, ....")
@click.option("--out", type=DIRECTORY, required=True, help="Where the data directories go.")
@click.option("--audio", type=DIRECTORY, help="Where decoded VoxCeleb2 goes (default: OUT/audio).")
@click.option("--format", "suffix", type=click.Choice(["flac", "wav"]), default="flac", show_default=True)
@click.option("--no-decode", is_flag=True, help="Read m4a as it is, through ffmpeg: saves the disk, slow.")
@click.option("--trials", default=_ALL, show_default=True, help="Lists to prepare, comma separated.")
@click.option("--expect", default="published", show_default=True, help="Counts: published, none, or a JSON file.")
@click.option("--quarantine", is_flag=True, help="Go on without recordings of VoxCeleb2 that cannot be decoded.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the development trials.")
@click.option("--nj", type=click.IntRange(1), default=4, show_default=True, help="Decoders; never changes a byte.")
@run_options
def prepare(run: Run, nj: int, **given: Any) -> None:
    """Make the data directories of the VoxCeleb recipe. The corpora are only read."""
    out: Path = given["out"]
    settings = {name: str(value.resolve()) if isinstance(value, Path) else value for name, value in given.items()}
    outputs = [out / name / "wav.scp" for name in _SETS]
    inputs = sorted(given["lists"].glob("*.txt"))

    def work() -> dict[str, Any]:
        return _work(given, nj)

    once(run, f"prepare {out}", marker(out, "prepare"), settings=settings, inputs=inputs, outputs=outputs, work=work)


def _work(given: dict[str, Any], nj: int) -> dict[str, Any]:
    from tqdm import tqdm

    from spkssl.corpora import musan_rirs, voxceleb
    from spkssl.corpora.voxceleb_layout import read_expected

    out: Path = given["out"]
    counts: dict[str, Any] = {
        "noise": musan_rirs.prepare_musan(given["musan"], out / "noise"),
        "rir": musan_rirs.prepare_rirs(given["rirs"], out / "rir"),
        "rir_real": musan_rirs.prepare_rirs(given["rirs"], out / "rir_real", [musan_rirs.REAL]),
    }
    config = voxceleb.Voxceleb(
        vox1=given["vox1"],
        vox2=given["vox2"],
        lists=given["lists"],
        out=out,
        audio=None if given["no_decode"] else (given["audio"] or out / "audio").resolve(),
        suffix=given["suffix"],
        trials=tuple(given["trials"].split(",")),
        expected=read_expected(given["expect"]),
        quarantine=given["quarantine"],
        seed=given["seed"],
        nj=nj,
    )
    with tqdm(unit=" files", desc="decoding", disable=None) as bar:  # None: silent where nobody watches
        counts |= voxceleb.prepare(config, say, bar.update)
    _check(out)
    say(", ".join(f"{name}: {sum(n.values()) if isinstance(n, dict) else n}" for name, n in counts.items()))
    return {"files": counts}


def _check(out: Path) -> None:
    """What was written is what the stages to come expect; no speaker is on both sides of training and testing."""
    from spkssl.io.validate import overlap, validate

    problems = [problem for name in _SETS for problem in validate(out / name)]
    problems = problems or [problem for name in ("dev", "test") for problem in overlap(out / "train", out / name)]
    if problems:
        raise InputError(problems[0] + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""))


if __name__ == "__main__":
    run_command(prepare)
