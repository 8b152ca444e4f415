"""The settings of one call: a YAML, `--set` and the recipe's flags, read without importing what they configure.

Whether a stage is up to date is told from this plain tree, in a fraction of a second; the typed, strict
configuration is built from it only when there is work to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from spkssl import config
from spkssl.errors import complain
from spkssl.io.atomic import write_text
from spkssl.settle import Replaced, settle

_FLAGS = {"seed": "seed", "input_mode": "data.input"}  # options that are short for a setting


@dataclass(frozen=True)
class Settings:
    file: Mapping[str, Any]  # what the YAML says
    source: str
    overrides: tuple[str, ...] = ()  # a.b=c, in the order given

    @cached_property
    def tree(self) -> dict[str, Any]:
        """Both, still with what the YAML says to choices that --set replaced: it decides nothing, but is all there."""
        return config.override(self.file, self.overrides)

    @property
    def seed(self) -> int:
        return int(self.tree.get("seed", 0))

    def section(self, name: str) -> dict[str, Any]:
        """The plain section; {} where the YAML has none. A choice may be written as its name alone."""
        found = self.tree.get(name) or {}
        if not isinstance(found, Mapping | str):
            raise complain(self.source, f"{name}: expected a section, got {found!r}")
        return {"name": found} if isinstance(found, str) else dict(found)

    def over(self, *more: str) -> Settings:
        """With these settings, too."""
        return replace(self, overrides=(*self.overrides, *more))

    def settle(self, cls: type, name: str = "") -> tuple[dict[str, Any], list[Replaced]]:
        """The plain tree, or one section of it, fit for the choices --set made, and those that it replaced."""
        found = self.tree.get(name) if name else None
        if not isinstance(found, Mapping | None):
            raise complain(self.source, f"{name}: expected a section, got {found!r}")
        return settle(cls, self.file, self.overrides, name, self.source)


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--config --set --seed`, spelled the same in all stages; they arrive as one argument `settings`."""

    def gather(ctx: click.Context, param: click.Parameter, value: str | None) -> Settings:
        overrides = list(ctx.params.pop("overrides", None) or ())
        given = {name: ctx.params.pop(name, None) for name in _FLAGS}
        overrides += [f"{_FLAGS[name]}={value}" for name, value in given.items() if value is not None]
        file, source = (config.read_yaml(value), config.origin(value)) if value else ({}, "command line")
        config.override(file, overrides)  # what is malformed stops here, before any work
        return Settings(file, source, tuple(overrides))

    options = [
        click.option("--set", "overrides", multiple=True, is_eager=True, metavar="A.B=C", help="Override one setting."),
        click.option("--seed", type=int, is_eager=True, help="Seed of all randomness (default: the YAML's, or 0)."),
        click.option("--config", "settings", type=click.Path(), callback=gather, help="The system's YAML."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def write_resolved(exp: Path, sections: Mapping[str, Any]) -> None:
    """Put the typed sections into `exp/config.yaml`, defaults filled in: what runs is what is written there."""
    path = exp / "config.yaml"
    tree = config.read_yaml(path) if path.exists() else {}
    tree.update({name: config.to_dict(section) for name, section in sections.items()})
    write_text(path, config.dump_yaml(tree))


def input_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--input feats|wave`, short for the setting `data.input`. Goes below `settings_options`."""
    return click.option(
        "--input",
        "input_mode",
        type=click.Choice(["feats", "wave"]),
        is_eager=True,
        help="Read features or audio in training (default: the YAML's, or feats).",
    )(command)
