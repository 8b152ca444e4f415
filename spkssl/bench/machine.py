"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from spkssl import __version__

_PACKAGES = ("torch", "torchaudio", "numpy", "scipy", "scikit-learn", "faiss-cpu", "kaldiio")


def machine() -> dict[str, Any]:
    """Processor, memory, Python and packages; nothing is imported to find out."""
    return {
        "system": platform.platform(),
        "model": _model(),
        "cpus": cpus(),
        "memory_mb": _memory_mb(),
        "python": platform.python_version(),
        "spkssl": __version__,
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "load": load(),
    }


def cpus() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> list[float]:
    """Load average over 1, 5 and 15 minutes; [] where the system has none."""
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else []


def peak_mb() -> float:
    """The largest resident size of this process so far.

    Linux counts what the parent held at the moment of the fork into getrusage, so its own table comes first.
    """
    found = _status("VmHWM")
    if found is not None:
        return found
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(used / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def _status(name: str) -> float | None:
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    values = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return round(int(values[name].split()[0]) / 1024, 1) if name in values else None


def _model() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
