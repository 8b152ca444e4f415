"""`spkssl rounds`: how many rounds a run has, for recipes that loop over them."""

from __future__ import annotations

from pathlib import Path

import click

from spkssl import config
from spkssl.io import markers
from spkssl.stages.run_folder import folder_options
from spkssl.stages.settings import Settings, settings_options
from spkssl.stages.stage import run_options
from spkssl.stages.stop import decision_of, rule_of


@click.command()
@settings_options
@run_options
@folder_options
@click.option("--max", "most", type=click.IntRange(0), required=True, help="How many there are unless a rule stops.")
@click.option("--done", type=click.IntRange(0), help="Heed the decisions up to this round only (default: all).")
def rounds(settings: Settings, run: object, exp: Path, data: Path, most: int, done: int | None) -> None:
    """Print --max, or the first round after which `spkssl stop` stopped by the rule that holds now."""
    rule = config.to_dict(rule_of(settings))
    for number in range(1, min(most, most if done is None else done) + 1):
        found = markers.read(decision_of(exp, number))
        if found.get("decision") == "stop" and found.get("rule") == rule:
            most = number
            break
    click.echo(most)
