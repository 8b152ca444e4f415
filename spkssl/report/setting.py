"""The circumstances of a run: commands, versions, machine, limits of the health check."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from spkssl.io import markers
from spkssl.report.run import View

_HEALTH = ("embed_std", "embed_cos", "entropy")


def commands(view: View) -> list[str]:
    """The recorded calls and nothing else, each once, in the order of the last time."""
    found = [as_typed(run["argv"]) for run in view.provenance if run.get("argv")]
    return list(dict.fromkeys(reversed(found)))[::-1]


def as_typed(argv: Sequence[str]) -> str:
    """The call as one would give it again, however Python was started."""
    return shlex.join(["spkssl", *argv[1:]])


def facts(view: View) -> list[tuple[str, str]]:
    """Name and value, for the head of a report."""
    rows = [("system", view.name), ("seed", str(view.seed)), ("configuration", view.config_digest)]
    last = view.provenance[-1] if view.provenance else {}
    if not last:
        return [*rows, ("provenance", "not recorded (exp/provenance.json is missing)")]
    packages = {name: value for run in view.provenance for name, value in (run.get("packages") or {}).items()}
    versions = {"python": last.get("python", "?"), **dict(sorted(packages.items()))}
    host = last.get("host") or {}
    gpus = host.get("gpus") or host.get("gpu")
    hardware = f"{host.get('cpus', '?')} CPUs, {host.get('system', '?')}" + (f", {gpus}" if gpus else "")
    return [
        *rows,
        ("code", f"spkssl {last.get('version', '?')}, commit {last.get('commit', '?')}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("hardware", hardware),
        ("last training", str(last.get("time", "?"))),
    ]


def health_limits(view: View, at: str) -> dict[str, float]:
    """Scalar -> the limit of the health check in this encoder's training."""
    section: Any = view.config.get("pretrain" if at == "pretrain" else "retrain") or {}
    found = (section.get("loop") or {}).get("health") or {}
    return {name: found[name] for name in _HEALTH if isinstance(found.get(name), int | float)}


def marked_work(view: View) -> list[tuple[str, dict[str, Any]]]:
    """Title and facts of each marker of the run, in the order the work was done."""
    found = sorted((view.exp / ".done").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return [(path.stem.replace(".", " "), markers.read(path)) for path in found if not path.stem.startswith("report")]


def digests(view: View) -> dict[str, str]:
    """Trial list -> digest of its file."""
    paths = {name: view.trial_list(name) for name in view.lists()}
    return {name: markers.fingerprint(path) for name, path in paths.items() if path is not None}
