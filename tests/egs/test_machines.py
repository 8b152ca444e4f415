"""Training over two machines, which two agents of torchrun on this one stand for."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAUNCH = [sys.executable, str(ROOT / "utils/launch.py")]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def agents(port: int, *command: str) -> list[subprocess.Popen]:
    """Two processes on each of two machines."""
    where = ["--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", str(port), "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return [
        subprocess.Popen(
            [*LAUNCH, *where, "--node-rank", node, *command],
            env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for node in "01"
    ]  # fmt: skip


# Small steps of SGD: large ones, and Adam's out of gradients that are next to nothing, enlarge what rounding leaves.
PLAIN = ["pretrain.loop.log_every=1", "pretrain.loop.optim.name=sgd", "pretrain.loop.optim.lr=0.01"]


def losses(exp: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (exp / "pretrain/metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_machines_train_as_one_process_does(recipe, tmp_path):
    """Up to the order of summation; and each process takes a GPU of its own machine."""
    runs = {machines: recipe("dino", f"machines{machines}") for machines in (1, 2)}
    for run in runs.values():
        command = run.command()
        settings = [command[i + 1] for i, part in enumerate(command) if part == "--set"]
        options = ["--config", str(ROOT / "egs/mini/conf/dino.yaml"), "--exp", str(run.exp), "--data", str(run.data)]
        options += [part for item in (*settings, *PLAIN) for part in ("--set", item)]
        if run is runs[1]:
            started = [
                subprocess.Popen(
                    [sys.executable, "-m", "spkssl", "pretrain", *options],
                    env=run.environment(), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                )
            ]  # fmt: skip
        else:
            started = agents(free_port(), str(Path(__file__).with_name("node.py")), str(tmp_path), "pretrain", *options)
        for process in started:
            said = process.communicate(timeout=300)
            assert process.returncode == 0, said
    assert losses(runs[2].exp) == pytest.approx(losses(runs[1].exp), rel=1e-3)
    found = [(tmp_path / f"rank{rank}").read_text().strip() for rank in range(4)]
    assert found == [f"{rank} of 4: cuda:{gpu} [{gpu}]" for rank, gpu in enumerate((0, 1, 0, 1))]


@pytest.mark.slow
def test_the_failure_of_one_process_ends_all_machines_and_is_named():
    code = "import sys; from spkssl import dist; dist.start('cpu'); dist.rank() == 2 and sys.exit(7); dist.barrier()"
    ends = []
    for process in agents(free_port(), "--no-python", sys.executable, "-c", code):
        said = process.communicate(timeout=120)[1]
        ends.append((process.returncode, [line for line in said.splitlines() if line.startswith("torchrun: ")]))
        assert "ChildFailedError" not in said
    (first, _), (second, named) = ends
    assert first != 0 and second == 7
    assert named == ["torchrun: process 2 ended first, with exit status 7; the others were stopped"]
