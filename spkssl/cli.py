"""The `spkssl` command. Each subcommand is imported when it is called, so that --help is instant."""

from __future__ import annotations

import errno
import sys
from importlib import import_module

import click

from spkssl import __version__
from spkssl.errors import InputError
from spkssl.stages import COMMANDS


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return getattr(import_module(f"spkssl.stages.{name}"), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, f"{c.number or '-'}  {c.help}") for name, c in COMMANDS.items()]
        with formatter.section("Commands (the number is the stage in run.sh)"):
            formatter.write_dl(rows)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="spkssl")
def cli() -> None:
    """Self-supervised speaker verification: from recordings without labels to an equal error rate."""


def main() -> None:
    run_command(cli)


def run_command(command: click.Command) -> None:
    """Exit status: 0 done, 2 the user's error (one line), 1 a defect of ours (a traceback)."""
    try:
        command(standalone_mode=False)
    except InputError as error:
        click.echo(f"spkssl: error: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = error.filename or "disk"
        click.echo(
            f"spkssl: error: {where}: {error.strerror}; free some space, then the same command goes on", err=True
        )
        sys.exit(2)
    except click.Abort:
        click.echo("spkssl: interrupted; the same command goes on from here", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
