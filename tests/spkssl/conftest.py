"""Two processes on one machine, for what must hold across ranks."""

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
