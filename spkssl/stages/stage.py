"""How every stage is written: parse -> name inputs and outputs -> `once(...)` -> a library function does the work.

    @click.command()
    @settings_options                      # --config --set --seed, as one Settings
    @run_options                           # --force --dry-run, as one Run
    @click.option("--data", type=DIRECTORY, required=True)
    def features(settings: Settings, run: Run, data: Path) -> None:
        \"\"\"Stage 2: wav.scp -> feats.scp and archives of log-mel features.\"\"\"
        def work() -> dict[str, Any]:
            ...                            # library call; every write atomic; returns facts for the marker
        once(run, f"features {data}", marker(data, "features"), settings=settings.section("features"),
             inputs=[data / "wav.scp"], outputs=[data / "feats.scp"], work=work, check=check)

`once` skips fresh work with one line, says why stale work runs again, and marks what was done. `check` stops for what
can be known to be wrong before the work, so that a mistyped setting costs nothing. A stage never calls
another stage, and prints with `say`, which also reaches the log.
"""

from __future__ import annotations

import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import click

from spkssl import __version__
from spkssl.errors import complain, some
from spkssl.io import markers
from spkssl.io.atomic import write_json

DIRECTORY = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)

_log: ContextVar[TextIO | None] = ContextVar("log", default=None)


@dataclass(frozen=True)
class Run:
    """How a stage is to be run, apart from what it does."""

    force: bool = False
    dry_run: bool = False


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--force --dry-run`; they arrive as one argument `run`."""

    def gather(ctx: click.Context, param: click.Parameter, value: bool) -> Run:
        return Run(force=bool(ctx.params.pop("force", False)), dry_run=value)

    options = [
        click.option("--force", is_flag=True, is_eager=True, help="Do it even if it is up to date."),
        click.option("--dry-run", "run", is_flag=True, callback=gather, help="Say what would be done, do nothing."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def marker(folder: Path, *name: str) -> Path:
    """Where the marker of this piece of work lies: `<folder>/.done/<name.name>.json`."""
    return folder / ".done" / f"{'.'.join(name)}.json"


def made_by(folder: Path, *name: str) -> list[Path]:
    """The marker as an input, where an earlier stage left one: `inputs=[scp, *made_by(data, "features")]`."""
    path = marker(folder, *name)
    return [path] if path.exists() else []


def say(text: str) -> None:
    """Print a line and keep it in the stage's log; of several processes only the first one speaks."""
    if _rank():
        return
    click.echo(text)
    log = _log.get()
    if log is not None:
        log.write(text + "\n")
        log.flush()


def require(paths: Iterable[Path], do: str) -> None:
    """An InputError naming the inputs that are missing."""
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise complain(some(missing), "no such file or directory", do)


def once(
    run: Run,
    title: str,
    mark: Path,
    *,
    settings: Mapping[str, Any],
    inputs: list[Path],
    outputs: list[Path],
    work: Callable[[], Mapping[str, Any] | None],
    log: Path | None = None,
    check: Callable[[], object] = lambda: None,
) -> bool:
    """Do the work unless it is done; True if it was done now. `log`: file that keeps what `say` prints.

    `check` is called before the work where there is some; when it raises, what was done before still counts as done.
    Of several processes that torchrun started all work, and the first one alone speaks and marks.
    """
    made_from = markers.recipe(settings, inputs)
    reason = "forced" if run.force else markers.stale(mark, made_from)
    if not reason or run.dry_run:
        say(f"{title}: would run ({reason})" if reason else f"{title}: up to date")
        return False
    check()
    if _rank():
        work()
        return True
    mark.unlink(missing_ok=True)  # from here on the outputs may be half new
    with _logged(log):
        say(f"{title}: {reason}")
        start, busy = time.perf_counter(), cpu_seconds()
        facts = work() or {}
        seconds, busy = round(time.perf_counter() - start, 2), round(cpu_seconds() - busy, 2)
        missing = [output for output in outputs if not output.exists()]
        if missing:
            raise RuntimeError(f"{title} ended without writing {some(missing)}")
        facts = {"seconds": seconds, "cpu_seconds": busy, "peak_mb": peak_mb(), **facts}
        markers.write(mark, made_from, outputs, facts)
        say(f"{title}: done in {seconds:.1f} s ({busy:.1f} s of one core), peak {facts['peak_mb']} MB")
    return True


def cpu_seconds() -> float:
    """What this process and the children it waited for have used of all cores: unlike time, no matter who else runs."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def peak_mb() -> int:
    """The largest resident size so far of this process and of the children it waited for, in MB."""
    used = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return used // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def record_provenance(exp: Path, inputs: list[Path]) -> None:
    """Append this call to `exp/provenance.json`: command, commit, versions, host, input hashes."""
    path = exp / "provenance.json"
    history = markers.read(path).get("runs", [])
    history.append(
        {
            "argv": ["spkssl", *sys.argv[1:]],
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "commit": _commit(),
            "version": __version__,
            "python": platform.python_version(),
            "packages": _versions("torch", "torchaudio", "numpy", "scipy", "faiss", "sklearn", "kaldiio"),
            "host": {"system": platform.platform(), "cpus": _cpus(), "cpu": _cpu_model(), "gpus": _gpus()},
            "inputs": {str(path): markers.fingerprint(path) for path in inputs},
        }
    )
    write_json(path, {"runs": history})


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))  # set by torchrun


@contextmanager
def _logged(path: Path | None) -> Iterator[None]:
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"# {shlex.join(['spkssl', *sys.argv[1:]])}\n# started {time.strftime('%Y-%m-%dT%H:%M:%S%z')}\n")
        token, start, status = _log.set(file), time.perf_counter(), "failed"
        try:
            yield
            status = "done"
        except BaseException as error:
            file.write(f"{type(error).__name__}: {error}\n")
            raise
        finally:
            _log.reset(token)
            file.write(f"# {status} after {time.perf_counter() - start:.1f} s\n")


def _commit() -> str:
    root = Path(__file__).resolve().parents[2]
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip()


def _versions(*names: str) -> dict[str, str]:
    """Versions of what is loaded already; loading more just to name it would cost seconds."""
    return {name: getattr(sys.modules[name], "__version__", "?") for name in names if name in sys.modules}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _gpus() -> list[str]:
    torch = sys.modules.get("torch")
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch else []


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
