"""`spkssl doctor`: is this machine, and this installation, fit for work?"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import click

from spkssl.errors import complain, some

_NEEDED = ("torch", "torchaudio", "numpy", "scipy", "sklearn", "faiss", "kaldiio", "soundfile", "yaml", "click", "tqdm")
_DISTRIBUTION = {"sklearn": "scikit-learn", "faiss": "faiss-cpu", "yaml": "PyYAML"}
_PROGRAMS = {
    "ffmpeg": "reads m4a, mp3 and other containers; Debian: apt install ffmpeg",
    "sbatch": "spreads shards over a Slurm cluster; Debian: apt install slurm-wlm",
    "shellcheck": "lets the tests check the recipes; Debian: apt install shellcheck",
}


class Finding(NamedTuple):
    name: str
    found: str
    wrong: str  # '' = fine


@click.command()
@click.option("--quiet", is_flag=True, help="Print only what is wrong.")
@click.option("--quick", is_flag=True, help="Look at versions only, load no package.")
def doctor(quiet: bool, quick: bool) -> None:
    """Check Python, packages, threads, disk, GPU and optional programs; exit 2 when something needed is wrong."""
    findings = list(_examine(quick))
    for finding in findings:
        if finding.wrong or not quiet:
            verdict = "WRONG" if finding.wrong else "ok"
            click.echo(f"{verdict:6}{finding.name:14}{finding.found}  {finding.wrong}".rstrip())
    if not quiet:
        for program, purpose in _PROGRAMS.items():
            found = shutil.which(program)
            click.echo(f"{'ok' if found else '-':6}{program:14}{found or f'not found; {purpose}'}")
    wrong = [finding.name for finding in findings if finding.wrong]
    if wrong:
        raise complain("doctor", f"something needed is wrong: {some(wrong)}", "run bash tools/setup.sh")


def _examine(quick: bool) -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    right = (3, 10) <= sys.version_info[:2] <= (3, 13)
    yield Finding("python", python, "" if right else "expected 3.10 to 3.13")
    for name in _NEEDED:
        yield _package(name, quick)
    yield from _matching_torch(quick)
    yield Finding("cpus", str(_cpus()), "")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    too_many = threads.isdigit() and int(threads) > _cpus()
    yield Finding("threads", f"OMP_NUM_THREADS={threads or 'unset'}", f"more than {_cpus()} cpus" if too_many else "")
    free = shutil.disk_usage(".").free / 1e9
    yield Finding("disk", f"{free:.0f} GB free here", "less than 1 GB free" if free < 1 else "")


def _package(name: str, quick: bool) -> Finding:
    distribution = _DISTRIBUTION.get(name, name)
    try:
        if quick:
            return Finding(distribution, version(distribution), "")
        import_module(name)
        return Finding(distribution, version(distribution), "")
    except PackageNotFoundError:
        return Finding(distribution, "no version", "not installed" if quick else "")
    except (ImportError, OSError) as error:  # torchaudio beside a foreign torch fails with OSError
        return Finding(distribution, "not usable", str(error).splitlines()[0])


def _matching_torch(quick: bool) -> Iterator[Finding]:
    try:
        pair = [version(name).split("+")[0] for name in ("torch", "torchaudio")]
    except PackageNotFoundError:
        return  # said above already
    if pair[0] != pair[1]:
        yield Finding("torchaudio", pair[1], f"must equal torch's version {pair[0]}")
    if quick:
        return
    try:
        import torch
    except (ImportError, OSError):
        return
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield Finding("gpu", ", ".join(names) or "none (CPU only)", "")


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
