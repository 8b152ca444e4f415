"""Measure cases one after the other, each run in a process of its own, and collect what they say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spkssl.bench.case import OURS, Case, Target
from spkssl.bench.cases import CASES
from spkssl.bench.child import PREPARE
from spkssl.errors import choose, complain

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def chosen(names: Sequence[str]) -> list[str]:
    """The cases of these names in the order of the table, all for none."""
    wanted = {choose("bench", name, CASES) for name in names}
    return [name for name in CASES if not wanted or name in wanted]


def measure_all(names: Sequence[str], *, small: bool, threads: int, repeat: int) -> Iterator[dict[str, Any]]:
    """A row for each case as soon as it is measured; `skipped` in it says why there are no figures."""
    for name in names:
        case = CASES[name]
        used = case.threads or threads
        folder = Path(tempfile.mkdtemp(prefix=f"spkssl-bench-{name}-"))
        try:
            if case.prepare is not None:
                _child(name, PREPARE, folder, small, used, 1, case)
            runs = {run: _child(name, run, folder, small, used, repeat, case) for run in case.runs()}
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        yield _row(name, case, runs, used, small)


def _child(name: str, run: str, folder: Path, small: bool, threads: int, repeat: int, case: Case) -> dict[str, Any]:
    command = [sys.executable, "-m", "spkssl.bench.child", name, run, str(folder)]
    command += ["--threads", str(threads), "--repeat", str(repeat), *(["--small"] if small else [])]
    env = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads)), **case.env}
    done = subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode < 0:
        raise complain(f"bench {name} ({run})", f"killed by signal {-done.returncode}", "it may have run out of memory")
    if done.returncode:
        raise RuntimeError(f"bench {name} ({run}) ended with status {done.returncode}:\n{done.stderr}")
    report = folder / f"{run}.json"
    return json.loads(report.read_text(encoding="utf-8")) if run != PREPARE else {}


def _row(name: str, case: Case, runs: dict[str, dict[str, Any]], threads: int, small: bool) -> dict[str, Any]:
    ours = runs[OURS]
    row = {"case": name, "what": case.what, "threads": threads, "env": dict(case.env), **ours}
    if "skipped" in ours:
        return row
    peers = [{"peer": peer, **found} for peer, found in runs.items() if peer != OURS]
    for peer in peers:
        peer["ratio"] = peer["seconds"]["median"] / ours["seconds"]["median"]  # above 1: we are faster
    target = {key: value for key, value in vars(case.target).items() if value is not None}
    return {
        **row,
        "peers": peers,
        "target": target,
        "met": None if small or not target else _met(case.target, ours),  # a small case says nothing about it
        "elsewhere_seconds": dict(case.elsewhere),
    }


def _met(target: Target, found: dict[str, Any]) -> bool:
    return (
        (target.seconds is None or found["seconds"]["median"] <= target.seconds)
        and (target.peak_mb is None or found["peak_mb"] <= target.peak_mb)
        and (target.rate is None or found["rate"]["median"] >= target.rate)
    )
