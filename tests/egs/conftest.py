"""The mini recipe at a size that takes seconds, run as a user runs it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
SIZES = (
    "--train-speakers 6 --train-utts 8 --dev-speakers 3 --dev-utts 8 --test-speakers 3 --test-utts 8 "
    "--noises 1 --rirs 4"
)
TINY = [
    "encoder.channels=16", "encoder.aggregation=24", "encoder.embed_dim=16", "encoder.se_channels=4",
    "encoder.attention_channels=4", "pretrain.loop.batch_size=12", "pretrain.loop.epochs=3",
    "pretrain.loop.checkpoint_every=1", "retrain.loop.batch_size=12", "retrain.loop.epochs=3",
    "retrain.loop.checkpoint_every=1", "retrain.method.frames=60", "cluster.num_clusters=8", "cluster.min_size=1",
    "score.bootstrap=20",
]  # fmt: skip
METHOD = {
    "simclr": ["pretrain.method.frames=60"],
    "lgl": ["pretrain.method.frames=60"],
    "moco": ["pretrain.method.frames=60", "pretrain.method.queue=24"],
    "dino": ["pretrain.method.global_frames=60", "pretrain.method.local_frames=40", "pretrain.method.head.out=32"],
    "rdino": ["pretrain.method.global_frames=60", "pretrain.method.local_frames=40", "pretrain.method.head.out=32"],
}


class Recipe:
    """`bash egs/mini/run.sh` with its own exp folder, on shared tiny data."""

    def __init__(self, data: Path, exp: Path, system: str) -> None:
        self.data, self.exp, self.system = data, exp, system

    def command(self, *options: str) -> list[str]:
        settings = [part for item in (*TINY, *METHOD[self.system]) for part in ("--set", item)]
        places = ["--data", str(self.data), "--exp", str(self.exp), "--system", self.system, "--sizes", SIZES]
        return ["bash", str(ROOT / "egs/mini/run.sh"), *places, "--nj", "1", *settings, *options]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "SPKSSL_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}

    def run(self, *options: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*options), env=self.environment(), cwd=ROOT, capture_output=True, text=True, timeout=600
        )

    def __call__(self, *options: str) -> str:
        done = self.run(*options)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    def kill_when(self, appears: Path, *options: str) -> None:
        """Start the recipe and kill -9 all of it as soon as a path exists."""
        with subprocess.Popen(
            self.command(*options),
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            deadline = time.monotonic() + 240
            while not appears.exists():
                assert process.poll() is None, f"ended before {appears} existed"
                assert time.monotonic() < deadline, f"{appears} never came"
                time.sleep(0.005)
            os.killpg(process.pid, signal.SIGKILL)

    def weights(self, at: str) -> dict[str, torch.Tensor]:
        return torch.load(self.exp / at / "encoder.pt", weights_only=True)["weights"]

    def same_weights(self, other: "Recipe", at: str) -> bool:
        mine, theirs = self.weights(at), other.weights(at)
        return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.fixture
def data_copy(tiny_data, tmp_path) -> Path:
    """Data to spoil. Archives name the folder they were made for, so a copy makes its own features."""
    made = ("feats", "feats.scp", "utt2num_frames", ".done")
    return shutil.copytree(tiny_data, tmp_path / "data", ignore=shutil.ignore_patterns(*made))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """Stages 1 and 2, once for all tests."""
    data = tmp_path_factory.mktemp("mini") / "data"
    Recipe(data, data.parent / "none", "simclr")("--stage", "1", "--stop-stage", "2")
    return data


@pytest.fixture
def recipe(tiny_data, tmp_path):
    """Makes a recipe with an exp folder of its own."""

    def make(system: str, name: str = "exp", data: Path = tiny_data) -> Recipe:
        return Recipe(data, tmp_path / name, system)

    return make
