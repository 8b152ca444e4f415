"""Stage 1 of the CN-Celeb recipe: the corpora as distributed -> data/{train,test,noise,rir,rir_real}."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spkssl.cli import run_command
from spkssl.stages.stage import DIRECTORY, Run, marker, once, run_options, say

_SETS = ("train", "test", "noise", "rir", "rir_real")


@click.command()
@click.option("--cnceleb1", type=DIRECTORY, required=True, help="CN-Celeb_flac, with data, dev and eval.")
@click.option("--cnceleb2", type=DIRECTORY, required=True, help="CN-Celeb2_flac, with data and spk.lst.")
@click.option("--musan", type=DIRECTORY, required=True, help="musan, with music, noise and speech.")
@click.option("--rirs", type=DIRECTORY, required=True, help="RIRS_NOISES, with simulated_rirs and real_rirs_....")
@click.option("--out", type=DIRECTORY, required=True, help="Where the data directories go.")
@click.option("--audio", type=DIRECTORY, help="Where joined utterances go (default: OUT/audio).")
@click.option(
    "--join",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Join training utterances until none is shorter than so many seconds (wespeaker: 5). By speaker and genre, so "
    "it uses true labels.",
)
@click.option("--expect", type=click.Choice(["published", "none"]), default="published", help="Counts to expect.")
@click.option("--nj", type=click.IntRange(1), default=4, show_default=True, help="Threads; never changes a byte.")
@run_options
def prepare(run: Run, nj: int, **given: Any) -> None:
    """Make the data directories of the CN-Celeb recipe. The corpora are only read."""
    out: Path = given["out"]
    settings = {name: str(value.resolve()) if isinstance(value, Path) else value for name, value in given.items()}
    lists = given["cnceleb1"] / "eval" / "lists"
    inputs = [given["cnceleb1"] / "dev" / "dev.lst", given["cnceleb2"] / "spk.lst", *sorted(lists.glob("*"))]
    outputs = [out / name / "wav.scp" for name in _SETS]

    def work() -> dict[str, Any]:
        from spkssl.corpora import cnceleb, musan_rirs

        counts: dict[str, Any] = {
            "noise": musan_rirs.prepare_musan(given["musan"], out / "noise"),
            "rir": musan_rirs.prepare_rirs(given["rirs"], out / "rir"),
            "rir_real": musan_rirs.prepare_rirs(given["rirs"], out / "rir_real", [musan_rirs.REAL]),
        }
        config = cnceleb.Cnceleb(
            first=given["cnceleb1"],
            second=given["cnceleb2"],
            out=out,
            audio=(given["audio"] or out / "audio").resolve(),
            join=given["join"],
            published=given["expect"] == "published",
            nj=nj,
        )
        counts |= cnceleb.prepare(config, say)
        say(", ".join(f"{name}: {sum(n.values()) if isinstance(n, dict) else n}" for name, n in counts.items()))
        return {"files": counts}

    once(run, f"prepare {out}", marker(out, "prepare"), settings=settings, inputs=inputs, outputs=outputs, work=work)


if __name__ == "__main__":
    run_command(prepare)
