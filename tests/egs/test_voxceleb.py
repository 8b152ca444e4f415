"""The VoxCeleb recipe on tiny corpora in the distributed layouts, run as a user runs it."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from spkssl.config import read_yaml
from spkssl.io.ark import read, read_scp
from spkssl.io.tables import read_table
from spkssl.nn import wavlm

ROOT = Path(__file__).parents[2]
TINY = [
    "data.workers=0", "encoder.channels=16", "encoder.aggregation=24", "encoder.embed_dim=16", "encoder.se_channels=4",
    "encoder.attention_channels=4", "pretrain.loop.batch_size=8", "pretrain.loop.epochs=2", "retrain.loop.batch_size=8",
    "retrain.loop.epochs=2", "retrain.loop.optim.schedule.warmup_epochs=0",
    "pretrain.loop.optim.schedule.warmup_epochs=0", "cluster.num_clusters=4", "cluster.min_size=1",
    "score.bootstrap=20",
]  # fmt: skip
HEAD = [f"pretrain.method.head.{size}" for size in ("out=32", "hidden=32", "bottleneck=16", "wide=32")]
VIEWS = ["pretrain.method.global_frames=60", "pretrain.method.local_frames=40"]
AAM = ["retrain.method.frames=60"]
METHOD = {
    "simclr": ["pretrain.method.frames=60", *AAM],
    "dino": [*VIEWS, *HEAD, *AAM],
    "rdino": [*VIEWS, *HEAD, *AAM],
    "sdpn": [*VIEWS, *AAM],
    "memo": [*VIEWS, *AAM],
    "lgl": ["pretrain.method.frames=60", *AAM],
    "ssrl": [*VIEWS, *HEAD, "retrain.method.student_frames=60", "retrain.method.teacher_frames=80",
             "retrain.method.fixed_epochs=1", "retrain.method.queue=1",
             "retrain.loop.optim.schedule.first_epochs=1"],
    "moco": ["pretrain.method.frames=60", "pretrain.method.queue=24", *AAM],
    "dlg_lc": [*VIEWS, *HEAD, *AAM, "retrain.method.ungated_epochs=1", "retrain.method.uncorrected_epochs=1"],
    "aamsupcon": [*VIEWS, *HEAD, *AAM],
}  # fmt: skip
METHOD["ssrl_wavlm"] = [*METHOD["ssrl"], "encoder.size=tiny"]
SYSTEMS = sorted(path.stem for path in (ROOT / "egs/voxceleb/conf").glob("*.yaml"))


class Recipe:
    def __init__(self, corpora: Path, data: Path, exp: Path, system: str = "simclr") -> None:
        self.corpora, self.data, self.exp, self.system = corpora, data, exp, system
        self.more: list[str] = []  # settings
        self.env = {**os.environ, "SPKSSL_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}

    def run(
        self, *options: str, corpora: bool = True, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess:
        command = ["bash", str(ROOT / "egs/voxceleb/run.sh"), "--system", self.system, "--ngpu", "0", "--nj", "1"]
        command += ["--data", str(self.data), "--exp", str(self.exp), "--rounds", "1"]
        if corpora:
            names = {
                "vox1": "voxceleb1",
                "vox2": "voxceleb2",
                "musan": "musan",
                "rirs": "RIRS_NOISES",
                "lists": "lists",
            }
            for option, folder in names.items():
                command += [f"--{option}", str(self.corpora / folder)]
            command += ["--expect", str(self.corpora / "counts.json")]
        for setting in (*self._fitting(TINY), *METHOD.get(self.system, []), *self.more):
            command += ["--set", setting]
        return subprocess.run(
            [*command, *options], env=self.env | (env or {}), cwd=ROOT, capture_output=True, text=True, timeout=1200
        )

    def __call__(self, *options: str, corpora: bool = True) -> str:
        done = self.run(*options, corpora=corpora)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    def _fitting(self, settings: list[str]) -> list[str]:
        """Without what the system's own encoder, method or schedule does not know."""
        tree = read_yaml(ROOT / f"egs/voxceleb/conf/{self.system}.yaml")
        kept = []
        for setting in settings:
            key = setting.split("=")[0].split(".")
            section = tree
            for part in key[:-1]:
                section = (section or {}).get(part)
            if "warmup_epochs" not in key or key[-1] in (section or {}):
                inner = setting.replace("encoder.", "encoder.ecapa.") if self.system == "ssrl_wavlm" else setting
                kept.append(inner)
        return kept


@pytest.fixture(scope="session")
def corpora(tmp_path_factory) -> Path:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg here: it makes the m4a files")
    spec = importlib.util.spec_from_file_location("voxceleb_corpora", ROOT / "tests/voxceleb_corpora.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.make(tmp_path_factory.mktemp("corpora"))


@pytest.fixture(scope="session")
def data(corpora, tmp_path_factory) -> Path:
    """Stages 1 and 2, once for all tests."""
    folder = tmp_path_factory.mktemp("voxceleb") / "data"
    Recipe(corpora, folder, folder.parent / "none")("--stop-stage", "2")
    return folder


def whole(recipe: Recipe) -> None:
    """Stages 3 to 8; another clustering alone; then nothing is left to do, without the corpora as well."""
    recipe("--stage", "3", corpora=False)
    rows = json.loads((recipe.exp / "results.json").read_text())["results"]
    found = {(row["at"], row["trials"]) for row in rows if row["backend"] == "cosine"}
    lists = {"dev", "vox1-o", "vox1-o-clean", "vox1-e", "vox1-e-clean", "vox1-h", "vox1-h-clean"}
    assert found >= {(at, name) for at in ("untrained", "pretrain", "round1") for name in lists}
    assert {row["labels_used"] for row in rows if row["at"] == "round1"} == {"pseudo"}
    again = recipe()
    assert "done in" not in again and "not done yet" not in again, again
    redone = recipe("--stage", "5", "--stop-stage", "5", "--cluster", "hdbscan", corpora=False)
    assert "cluster pretrain: " in redone and "done in" in redone and "stage 6" not in redone


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_whole_recipe_for_a_system(corpora, data, tmp_path, system):
    recipe = Recipe(corpora, data, tmp_path / "exp", system)
    if system == "ssrl_wavlm":
        with_tiny_wavlm(recipe, tmp_path)
    whole(recipe)


def with_tiny_wavlm(recipe: Recipe, folder: Path) -> None:
    """Teach the recipe's Python a size that nobody published, and give it weights of that size."""
    size = wavlm.Size("layer_norm", 32, 2, 2, 48, True, True)
    code = f"from spkssl.nn import wavlm\nfrom spkssl.nn.wavlm import Size\nwavlm.SIZES['tiny'] = {size!r}\n"
    (folder / "sitecustomize.py").write_text(code)
    torch.save(wavlm._architecture(size).state_dict(), folder / "wavlm.pth")
    recipe.env["PYTHONPATH"] = str(folder)
    recipe.more = [f"encoder.weights={folder / 'wavlm.pth'}"]


@pytest.mark.slow
def test_pretraining_alone(corpora, data, tmp_path):
    recipe = Recipe(corpora, data, tmp_path / "exp")
    printed = recipe("--stage", "3", "--stop-stage", "3", corpora=False)
    assert [line.split(" ", 1)[1] for line in printed.splitlines() if " stage " in line] == ["stage 3: pretrain"]
    assert (recipe.exp / "pretrain/encoder.pt").exists() and not (recipe.exp / "pretrain/emb").exists()


@pytest.mark.slow
def test_the_supervised_reference_alone_as_its_yaml_tells(corpora, data, tmp_path):
    recipe = Recipe(corpora, data, tmp_path / "exp", "aamsupcon")
    recipe("--stage", "6", "--rounds", "0", "--reference", corpora=False)
    rows = json.loads((recipe.exp / "results.json").read_text())["results"]
    assert {row["at"] for row in rows} == {"supervised"} and {row["labels_used"] for row in rows} >= {"true"}
    assert "supervised" in (recipe.exp / "RESULTS.md").read_text()


def test_stage_one_and_two_leave_valid_sets_and_are_not_repeated(corpora, data, tmp_path):
    for name in ("train", "dev", "test", "noise"):
        assert read_scp(data / name / "feats.scp").keys() == read_table(data / name / "wav.scp").keys()
    again = Recipe(corpora, data, tmp_path / "exp")("--stop-stage", "2")
    assert again.count("up to date") == 5 and "done in" not in again


@pytest.mark.slow
def test_two_machines_make_one_run_of_which_the_second_only_trains(corpora, data, tmp_path):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        where = ["--nodes", "2", "--master", f"127.0.0.1:{found.getsockname()[1]}", "--stage", "3", "--stop-stage", "6"]
    recipe = Recipe(corpora, data, tmp_path / "exp")
    with ThreadPoolExecutor() as machines:
        first, second = machines.map(lambda rank: recipe(*where, "--node-rank", rank, corpora=False), "01")
    assert "over 2 processes" in first and "cluster round1: not done yet" in first and "waiting" not in first
    assert "over 2 processes" not in second and "extract" not in second and "cluster" not in second
    assert [stage in second for stage in ("stage 3", "stage 4", "stage 5", "stage 6")] == [True, False, False, True]
    assert (tmp_path / "exp/round1/emb/test/xvector.scp").exists()


def test_a_dry_run_goes_through_before_anything_is_there(tmp_path):
    done = Recipe(tmp_path, tmp_path / "data", tmp_path / "exp", "one_gpu/sdpn").run("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "retrain round1: would run" in done.stdout and "report: would run" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_any_number_of_processes_gives_the_same_data(corpora, data, tmp_path):
    other = tmp_path / "data"
    Recipe(corpora, other, tmp_path / "exp")("--stop-stage", "2", "--nj", "4")
    for name in ("train", "dev", "test"):
        one, four = (read_scp(folder / name / "feats.scp") for folder in (data, other))
        assert one.keys() == four.keys()
        assert all(np.array_equal(read(one[utt]), read(four[utt])) for utt in one)
        for table in ("utt2spk", "utt2dur", "utt2num_frames", "spk2utt"):
            assert (data / name / table).read_bytes() == (other / name / table).read_bytes()
    assert (data / "dev/trials/dev").read_bytes() == (other / "dev/trials/dev").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lists", "/nowhere"], "spkssl: error: /nowhere/veri_test.txt: no such file (the list vox1-o); fetch it"),
        (["--vox2", "/nowhere"], "spkssl: error: /nowhere: no such folder; unpack vox2_dev_aac.zip to voxceleb2/dev"),
        (["--expect", "published"], "expected 37720 trials with 18860 targets"),
        (["--lists", ""], "run.sh: stage 1 needs --lists, the folder of the unpacked corpus (see --help)"),
    ],
)
def test_what_is_wrong_with_the_corpora_is_said_in_one_line(corpora, tmp_path, options, message):
    done = Recipe(corpora, tmp_path / "data", tmp_path / "exp").run("--stop-stage", "1", *options)
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if not line.startswith("run.sh: failed in stage 1")]
    assert len(said) == 1 and message in said[0], done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nodes", "2"], "run.sh: --nodes 2 needs --master host:port, a free port of the first one"),
        (["--nodes", "2", "--master", "a:1", "--node-rank", "2"], "run.sh: --node-rank goes from 0 to 1"),
        (["--nodes", "3", "--master", "a"], "run.sh: --nodes 3 needs --master host:port, a free port of the first one"),
        (["--nodes", "two"], "run.sh: --nodes takes how many machines there are, from 1 (got 'two')"),
        (["--nodes", "0"], "run.sh: --nodes takes how many machines there are, from 1 (got '0')"),
        (["--node-rank", "abc"], "run.sh: --node-rank takes a number from 0 (got 'abc')"),
        (["--node-rank", "1"], "run.sh: --node-rank 1 needs --nodes, how many machines there are"),
    ],
)
def test_machines_that_cannot_be_told_apart_are_refused_before_any_stage(tmp_path, options, message):
    recipe = Recipe(tmp_path, tmp_path / "data", tmp_path / "exp")
    done = recipe.run(*options, corpora=False)
    assert done.returncode == 2 and done.stderr.splitlines() == [message] and not done.stdout


def test_rounds_that_a_rule_may_end_are_refused_on_several_machines_before_any_stage(tmp_path):
    recipe = Recipe(tmp_path, tmp_path / "data", tmp_path / "exp")
    recipe.more = ["retrain.stop.rule=stability"]
    where = ("--dry-run", "--nodes", "2", "--master", "a:1", "--stage", "3")
    done = recipe.run(*where, corpora=False)
    said = "on several machines rounds are fixed: use --set retrain.stop.rule=fixed and --rounds"
    assert done.returncode == 2 and done.stderr == f"run.sh: {said}\n" and not done.stdout
    assert recipe.run(*where, "--stop-stage", "5", corpora=False).returncode == 0
    assert recipe.run(*where, "--rounds", "0", "--stop-stage", "6", corpora=False).returncode == 0


def test_without_ffmpeg_stage_one_says_so(corpora, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "sed", "grep", "cut", "tr", "nproc", "date", "cat", "sha256sum", "git", "env"):
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    recipe = Recipe(corpora, tmp_path / "data", tmp_path / "exp")
    done = recipe.run("--stop-stage", "1", env={"PATH": str(programs)})
    assert done.returncode == 2 and "ffmpeg: is not installed, and m4a needs it; install it" in done.stderr
