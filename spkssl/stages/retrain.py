"""Stage 6: train on pseudo labels, a round at a time; or, when asked for, on true ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spkssl.errors import complain
from spkssl.stages.run_folder import PRETRAIN, SUPERVISED, before, encoder_of, folder_options, labels_of, round_name
from spkssl.stages.settings import Settings, input_option, settings_options
from spkssl.stages.stage import FILE, Run, marker, once, require, run_options, say
from spkssl.stages.training_inputs import training_inputs, training_slice


@click.command()
@settings_options
@run_options
@folder_options
@input_option
@click.option("--round", "number", type=click.IntRange(1), help="Round R: on the labels that R - 1 led to.")
@click.option("--at", help="Name of a run on given labels (with --labels), instead of --round.")
@click.option("--labels", type=FILE, help="Lines `utterance label`: true labels, when you want supervised training.")
@click.option("--ngpu", type=click.IntRange(0), default=0, help="0: CPU. Several: start it with torchrun.")
def retrain(
    settings: Settings,
    run: Run,
    exp: Path,
    data: Path,
    number: int | None,
    at: str | None,
    labels: Path | None,
    ngpu: int,
) -> None:
    """Stage 6: train the system's retraining method on pseudo labels, into <exp>/round<r>/encoder.pt.

    With --labels FILE it trains on the labels you give; the report marks such a run as supervised.
    """
    if (number is None) == (labels is None):
        raise complain("retrain", "give either --round, or --labels with your own labels")
    at = round_name(number) if number else at or SUPERVISED
    wanted = settings.section("retrain").get("start", "scratch")
    start, centroids = None, None
    if number:
        labels = labels_of(exp, before(number))
        found = labels.parent / "centroids.npy"
        centroids = found if found.exists() else None
        start = {"pretrain": encoder_of(exp, PRETRAIN), "previous": encoder_of(exp, before(number))}.get(wanted)
    assert labels is not None
    given = [labels, *([start] if start else []), *([centroids] if centroids else [])]
    inputs = [*training_inputs(settings, data), *given]

    def check() -> None:
        from spkssl.stages.system import build_system

        require(inputs, "run stages 1 to 5 first, and the rounds before this one")
        build_system(settings)

    def work() -> dict[str, Any]:
        from spkssl.stages.fit import fit
        from spkssl.stages.system import build_system, tell_replaced

        system = build_system(settings)
        tell_replaced(settings, "encoder", "retrain")
        if not number:
            say(f"{at}: SUPERVISED, on the labels of {labels}")
        files = {"labels": labels, "centroids": centroids, "start": start}
        facts = fit(system, system.retrain, exp, data, at, ngpu, **files, number=number or 0)
        return {**facts, **_tell(exp, at), "labels": "given" if not number else "pseudo"}

    once(
        run,
        f"retrain {at}",
        marker(exp, "retrain", at),
        settings=training_slice(settings, "retrain"),
        inputs=inputs,
        outputs=[encoder_of(exp, at)],
        work=work,
        check=check,
        log=exp / at / "log" / "train.log",
    )


def _tell(exp: Path, at: str) -> dict[str, Any]:
    """Say whom the method's gate let teach, and how many steps were not made as nobody passed; facts for the marker."""
    from spkssl.report.gating import Trained, gate_row

    gate = gate_row(Trained(exp / at / "utterances.npz", exp / at / "metrics.jsonl"))
    if gate is None:
        return {}
    corrected = f", {gate['corrected']:.1%} taught another label" if gate["corrected"] else ""
    say(f"{at}: the gate accepted {gate['accepted']:.1%} of the labels{corrected}, each at its utterance's last visit")
    if gate["idle_steps"]:
        say(f"warning: {at}: in {gate['idle_steps']} of {gate['steps']} steps nothing taught, and none was made")
    return {"accepted": gate["accepted"], "idle_steps": gate["idle_steps"]}
