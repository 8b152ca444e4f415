"""`spkssl bench`: speed and memory, as ratios in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spkssl.stages.stage import FILE


@click.command()
@click.argument("names", nargs=-1)
@click.option("--out", type=FILE, default=Path("bench.json"), show_default=True, help="JSON with all figures.")
@click.option("--small", is_flag=True, help="Every case about 100 times smaller: does it run, not how fast is it.")
@click.option("--threads", type=click.IntRange(1), help="Of every library (default: the CPUs there are).")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Measurements of each case.")
@click.option("--list", "listing", is_flag=True, help="Say what the cases are, measure nothing.")
def bench(names: tuple[str, ...], out: Path, small: bool, threads: int | None, repeat: int, listing: bool) -> None:
    """Measure speed and peak memory of the cases NAMES (default: all) beside what others take for the same.

    Every case and every other toolkit runs in a process of its own. Leave the machine alone meanwhile, and give TMPDIR
    a disk with 2 GB free. Ratios compare within one run; seconds of two machines do not compare.
    """
    from spkssl.bench.cases import CASES
    from spkssl.bench.machine import cpus, machine
    from spkssl.bench.suite import chosen, measure_all
    from spkssl.bench.table import table
    from spkssl.io.atomic import write_json

    picked, threads = chosen(names), threads or cpus()
    if listing:
        click.echo("\n".join(f"{name:22}{CASES[name].what}" for name in picked))
        return
    report: dict[str, Any] = {
        "machine": machine(),
        "settings": {"small": small, "threads": threads, "repeat": repeat},
    }
    rows = []
    for row in measure_all(picked, small=small, threads=threads, repeat=repeat):
        rows.append(row)
        click.echo(f"{len(rows)} of {len(picked)}: {row['case']}", err=True)
        write_json(out, {**report, "cases": rows})  # after each case: an interrupted run keeps what it has
    click.echo(table(rows))
    host = report["machine"]
    click.echo(f"{host['model']}, {host['cpus']} cpus, {threads} threads, load {host['load']}; all figures: {out}")
