"""`python -m spkssl.bench.child CASE RUN FOLDER ...`: one measurement, in a process whose memory is its own."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from spkssl.bench.case import Skip, Work, spread_of
from spkssl.bench.cases import CASES
from spkssl.bench.machine import load, peak_mb
from spkssl.io.atomic import write_json

PREPARE = "prepare"


def measure(work: Work, repeat: int, threads: int) -> dict[str, Any]:
    """Call the work `repeat` times; the facts are those of the last call."""
    ready, facts, seconds = peak_mb(), {}, []
    for _ in range(repeat):
        start = time.perf_counter()
        facts = dict(work.call() or {})
        seconds.append(time.perf_counter() - start)
    share = threads if work.per_thread else 1
    rate = spread_of([work.amount / each / share for each in seconds])
    unit = f"{work.unit} per second" + (" and thread" if work.per_thread else "")
    return {
        "seconds": spread_of([each / work.parts for each in seconds]),
        "rate": {"min": rate["min"], "median": rate["median"], "max": rate["max"], "unit": unit},
        "peak_mb": peak_mb(),
        "ready_mb": ready,  # the peak before the first call: interpreter, libraries, input
        "facts": facts,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case")
    parser.add_argument("run")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    case = CASES[args.case]
    if args.run == PREPARE:
        assert case.prepare is not None, "only cases that prepare something are asked to"
        case.prepare(args.folder, args.small)
        return
    found: dict[str, Any] = {"load": load()}
    try:
        found.update(measure(case.runs()[args.run](args.folder, args.small), args.repeat, args.threads))
    except Skip as reason:
        found["skipped"] = str(reason)
    write_json(args.folder / f"{args.run}.json", found)


if __name__ == "__main__":
    main()
