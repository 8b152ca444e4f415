"""Two processes on one machine, for what must hold across ranks."""

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def start_ranks(script: Path, out: Path, world: int = 2) -> None:
    """Run `python script out` as so many ranks, as torchrun would; their complaints if one fails."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    shared = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    ranks = []
    for rank in range(world):
        env = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, str(script), str(out)]
        ranks.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    try:
        said = [rank.communicate(timeout=240)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    failed = "\n".join(text for rank, text in zip(ranks, said, strict=True) if rank.returncode)
    assert not failed, failed


@pytest.fixture(scope="session")
def run_ranks() -> Callable[[Path, Path], None]:
    return start_ranks


@pytest.fixture(scope="session")
def across_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    """What ranks.py gives: `two`, on each of two ranks, and `one`, in this process alone."""
    import torch

    spec = importlib.util.spec_from_file_location("ranks", Path(__file__).with_name("ranks.py"))
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    out = tmp_path_factory.mktemp("across")
    start_ranks(Path(script.__file__), out)
    two = [torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    return {"one": [script.everything()], "two": two}
