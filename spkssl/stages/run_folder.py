"""Where the stages of one run keep things: `exp/<run>/<at>/...`, `at` being pretrain, round1, ..., supervised.

Three more names stand for what is not trained: `untrained` (the encoder as it is initialised) and `fbank_stats`
(mean and deviation of the features).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from spkssl.errors import complain
from spkssl.stages.stage import DIRECTORY

UNTRAINED, STATS, PRETRAIN, SUPERVISED = "untrained", "fbank_stats", "pretrain", "supervised"


def round_name(number: int) -> str:
    return f"round{number}"


def before(number: int) -> str:
    """What round `number` starts from."""
    return PRETRAIN if number == 1 else round_name(number - 1)


def order(rounds: int) -> list[str]:
    """All that a run of so many rounds may hold, in the order of a results table."""
    return [STATS, UNTRAINED, PRETRAIN, *(round_name(r + 1) for r in range(rounds)), SUPERVISED]


def encoder_of(exp: Path, at: str) -> Path:
    return exp / at / "encoder.pt"


def embeddings_of(exp: Path, at: str, name: str) -> Path:
    return exp / at / "emb" / name / "xvector.scp"


def labels_of(exp: Path, at: str) -> Path:
    return exp / at / "labels" / "utt2cluster"


def folder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--exp --data`, spelled the same in all stages."""
    options = [
        click.option("--exp", type=DIRECTORY, required=True, help="The run's folder."),
        click.option("--data", type=DIRECTORY, required=True, help="The folder of the data directories."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def device_of(ngpu: int) -> str:
    """cpu, or this process's own GPU."""
    if not ngpu:
        return "cpu"
    import torch

    from spkssl import dist

    if not torch.cuda.is_available():
        raise complain("--ngpu", f"{ngpu} GPUs asked for, none found by torch", "run with --ngpu 0")
    torch.cuda.set_device(dist.local_rank())
    return f"cuda:{dist.local_rank()}"
