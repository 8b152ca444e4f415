"""Stage 3: train an encoder without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spkssl.stages.run_folder import PRETRAIN, encoder_of, folder_options
from spkssl.stages.settings import Settings, input_option, settings_options
from spkssl.stages.stage import Run, marker, once, require, run_options
from spkssl.stages.training_inputs import training_inputs, training_slice


@click.command()
@settings_options
@run_options
@folder_options
@input_option
@click.option("--ngpu", type=click.IntRange(0), default=0, help="0: CPU. Several: start it with torchrun.")
def pretrain(settings: Settings, run: Run, exp: Path, data: Path, ngpu: int) -> None:
    """Stage 3: train the system's method on the training set, without labels, into <exp>/pretrain/encoder.pt.

    Give the same command again after a kill: it goes on from the last checkpoint.
    """
    inputs = training_inputs(settings, data)

    def check() -> None:
        from spkssl.stages.system import build_system

        require(inputs, "run stages 1 and 2 first")
        build_system(settings)

    def work() -> dict[str, Any]:
        from spkssl.stages.fit import fit
        from spkssl.stages.system import build_system, tell_replaced

        system = build_system(settings)
        tell_replaced(settings, "encoder", "pretrain")
        return fit(system, system.pretrain, exp, data, PRETRAIN, ngpu)

    once(
        run,
        "pretrain",
        marker(exp, "pretrain"),
        settings=training_slice(settings, "pretrain"),
        inputs=inputs,
        outputs=[encoder_of(exp, PRETRAIN)],
        work=work,
        check=check,
        log=exp / PRETRAIN / "log" / "train.log",
    )
