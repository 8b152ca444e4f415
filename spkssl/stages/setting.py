"""`spkssl setting`: one value of a system's YAML, for recipes that loop over it."""

from __future__ import annotations

import click

from spkssl.stages.settings import Settings, settings_options


@click.command()
@settings_options
@click.argument("key", metavar="A.B")
@click.option("--default", help="What to print where the YAML says nothing.")
def setting(settings: Settings, key: str, default: str | None) -> None:
    """Print the value of a setting, such as retrain.rounds, after --set."""
    node: object = settings.tree
    for name in key.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    if node is None and default is None:
        raise click.ClickException(f"{settings.source}: says nothing of {key}; give --default")
    click.echo(default if node is None else node)
