"""`spkssl check`: is all that a run is told understood? Asked before its first stage, not after days of pretraining."""

from __future__ import annotations

import click

from spkssl.stages.settings import Settings, input_option, settings_options


@click.command()
@settings_options
@input_option
@click.option("--cluster", "name", help="As `spkssl cluster` takes it.")
@click.option("--num-clusters", "number", help="As `spkssl cluster` takes it.")
@click.option("--backend", help="As `spkssl score` takes it.")
def check(settings: Settings, name: str | None, number: str | None, backend: str | None) -> None:
    """Check the settings of all stages and the choices of stages 5 to 7; print nothing where all is well."""
    from spkssl.stages.cluster import built_clustering, clustering_of
    from spkssl.stages.score import backends_of
    from spkssl.stages.stop import rule_of
    from spkssl.stages.system import build_system

    build_system(settings)
    built_clustering(clustering_of(settings, name, number)[0], settings)
    backends_of(settings, backend)
    rule_of(settings)
