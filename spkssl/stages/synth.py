"""`spkssl synth`: make the embedded corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spkssl.stages.stage import DIRECTORY, Run, marker, once, run_options, say

_WRITTEN = [f"{name}/wav.scp" for name in ("train", "dev", "test", "noise", "rir")]
_WRITTEN += ["train/ref/utt2spk", "dev/trials/dev", "test/trials/test", "noise/utt2kind"]
_SPEAKERS, _TRIAL_SPEAKERS = click.IntRange(1, 9999), click.IntRange(2, 9999)


@click.command()
@click.option("--out", type=DIRECTORY, required=True, help="Where the data directories go; the audio to OUT/wav.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other speakers.")
@click.option("--nj", type=click.IntRange(1), default=1, show_default=True, help="Processes; never changes a byte.")
@click.option("--hard", is_flag=True, help="Speakers differ less and their sessions more: clusters become noisy.")
@click.option("--train-speakers", type=_SPEAKERS, default=100, show_default=True)
@click.option("--train-utts", type=click.IntRange(1), default=20, show_default=True, help="Utterances per speaker.")
@click.option("--dev-speakers", type=_TRIAL_SPEAKERS, default=40, show_default=True)
@click.option("--dev-utts", type=click.IntRange(2), default=12, show_default=True)
@click.option("--test-speakers", type=_TRIAL_SPEAKERS, default=80, show_default=True)
@click.option("--test-utts", type=click.IntRange(2), default=12, show_default=True)
@click.option("--noises", type=click.IntRange(1), default=10, show_default=True, help="Clips of each of six kinds.")
@click.option("--rirs", type=click.IntRange(1), default=100, show_default=True, help="Room impulse responses.")
@run_options
def synth(
    run: Run,
    out: Path,
    seed: int,
    nj: int,
    hard: bool,
    train_speakers: int,
    train_utts: int,
    dev_speakers: int,
    dev_utts: int,
    test_speakers: int,
    test_utts: int,
    noises: int,
    rirs: int,
) -> None:
    """Make the embedded corpus: synthesised speakers, trials, noises and rooms, all from one seed."""
    sizes = {
        "train_speakers": train_speakers, "train_utts": train_utts,
        "dev_speakers": dev_speakers, "dev_utts": dev_utts,
        "test_speakers": test_speakers, "test_utts": test_utts,
        "noises": noises, "rirs": rirs,
    }  # fmt: skip

    def work() -> dict[str, Any]:
        from tqdm import tqdm

        from spkssl.audio.synth.corpus import make_corpus
        from spkssl.audio.synth.plan import Sizes
        from spkssl.audio.synth.variation import HARD, STANDARD

        with tqdm(unit=" files", disable=None) as bar:  # None: silent where nobody watches
            made = make_corpus(out, seed, HARD if hard else STANDARD, Sizes(**sizes), nj, bar.update)
        say(", ".join(f"{name}: {count}" for name, count in made.items()))
        return {"files": made}

    once(
        run,
        f"synth {out}",
        marker(out, "synth"),
        settings={"seed": seed, "hard": hard, **sizes},
        inputs=[],
        outputs=[out / name for name in _WRITTEN],
        work=work,
    )
