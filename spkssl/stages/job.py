"""`--job I/N`: one shard of a stage, for clusters and `utils/run_jobs.sh`."""

from __future__ import annotations

from spkssl.errors import complain


def parse_job(job: str) -> tuple[int, int]:
    """(I, N), counted from 1."""
    number, slash, jobs = job.partition("/")
    if not (slash and number.isdecimal() and jobs.isdecimal() and 1 <= int(number) <= int(jobs)):
        raise complain("--job", f"expected I/N with 1 <= I <= N, got {job!r}")
    return int(number), int(jobs)
