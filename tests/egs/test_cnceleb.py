"""The CN-Celeb recipe on a fixture in the corpus's layout: all eight stages, with and without labels."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = [
    "data.workers=0", "encoder.channels=16", "encoder.aggregation=24", "encoder.embed_dim=16", "encoder.se_channels=4",
    "encoder.attention_channels=4", "pretrain.method.frames=60", "pretrain.loop.batch_size=12",
    "pretrain.loop.epochs=2", "pretrain.sampler.min_frames=0", "cluster.algorithm.name=kmeans",
    "cluster.num_clusters=4", "cluster.min_size=1", "retrain.method.frames=60", "retrain.loop.batch_size=12",
    "retrain.loop.epochs=2", "retrain.sampler.min_frames=0", "score.bootstrap=20",
]  # fmt: skip
FIVE = [
    "retrain.method.views=5",
    "retrain.augment_views={view0: reverb, view1: babble, view2: music, view3: noise}",
]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> Path:
    spec = importlib.util.spec_from_file_location("cnceleb_corpora", ROOT / "tests" / "cnceleb_corpora.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.make(tmp_path_factory.mktemp("corpora"))


def recipe(corpora: Path, out: Path, *options: str, system: str = "aamsupcon", settings: list[str] = TINY):
    places = {"cnceleb1": "CN-Celeb_flac", "cnceleb2": "CN-Celeb2_flac", "musan": "musan", "rirs": "RIRS_NOISES"}
    where = [part for name, folder in places.items() for part in (f"--{name}", str(corpora / folder))]
    folders = ["--data", str(out / "data"), "--exp", str(out / "exp" / system), "--system", system]
    tiny = [part for item in settings for part in ("--set", item)]
    sizes = ["--expect", "none", "--nj", "1", "--ngpu", "0", "--backend", "cosine"]
    return subprocess.run(
        ["bash", str(ROOT / "egs/cnceleb/run.sh"), *where, *folders, *sizes, *tiny, *options],
        env={**os.environ, "SPKSSL_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


def run(*args, **kwargs) -> str:
    done = recipe(*args, **kwargs)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_all_stages_with_and_without_labels_give_both_enrolments(corpora, tmp_path):
    labels = str(tmp_path / "data/train/ref/utt2spk")
    printed = run(corpora, tmp_path, "--rounds", "1", "--labels", labels, "--join", "1")
    assert "SPEAKER LABELS USED: utterances below 1 s are joined" in printed
    assert "supervised: SUPERVISED" in printed and "train: valid" in printed and "test: valid" in printed
    exp = tmp_path / "exp" / "aamsupcon"
    rows = json.loads((exp / "results.json").read_text())["results"]
    found = {(row["at"], row["trials"], row["labels_used"]) for row in rows}
    for at, used in (("pretrain", "none"), ("round1", "pseudo"), ("supervised", "true")):
        assert {(at, "cnceleb_average", used), (at, "cnceleb_concatenated", used)} <= found
    assert {row["n_target"] for row in rows} == {9} and {row["n_nontarget"] for row in rows} == {27}
    assert (exp / "RESULTS.md").stat().st_size > 0
    again = run(corpora, tmp_path, "--rounds", "1", "--labels", labels, "--join", "1")
    assert "done in" not in again and "not done yet" not in again, again


@pytest.mark.slow
def test_supervised_alone_needs_no_pretraining_and_takes_five_views(corpora, tmp_path):
    run(corpora, tmp_path, "--stop-stage", "2")
    labels = ["--labels", str(tmp_path / "data/train/ref/utt2spk")]
    options = ["--stage", "6", "--rounds", "0", "--at", "supervised", *labels]
    run(corpora, tmp_path, *options, settings=[*TINY, *FIVE])
    assert not (tmp_path / "exp/aamsupcon/pretrain").exists()
    config = (tmp_path / "exp/aamsupcon/config.yaml").read_text()
    assert "view3:" in config and "name: babble" in config
    run(corpora, tmp_path, *options, system="supmargincon")
    metrics = (tmp_path / "exp/supmargincon/supervised/metrics.jsonl").read_text().splitlines()
    assert {"aam", "supcon", "aam_share", "attention"} <= json.loads(metrics[-1]).keys()
    wrong = [*TINY, "retrain.augment_views={clean: reverb}"]
    done = recipe(corpora, tmp_path, *options, settings=wrong)
    assert done.returncode == 2 and "no such kind of view: clean (there are: view0)" in done.stderr


def test_preparing_again_gives_the_same_bytes(corpora, tmp_path):
    run(corpora, tmp_path, "--stop-stage", "1")
    made = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and path.suffix != ".json"]
    tables = {path: path.read_bytes() for path in made}
    (tmp_path / "data/.done/prepare.json").unlink()
    run(corpora, tmp_path, "--stop-stage", "1")
    assert all(path.read_bytes() == content for path, content in tables.items())


def test_a_corpus_that_is_not_there_stops_with_its_name(corpora, tmp_path):
    done = recipe(corpora, tmp_path, "--stop-stage", "1", "--cnceleb2", str(tmp_path / "nowhere"))
    assert done.returncode == 2 and f"{tmp_path / 'nowhere'}: no such folder" in done.stderr
    done = recipe(corpora, tmp_path, "--stop-stage", "1", "--musan", "")
    assert done.returncode == 2 and "stage 1 needs --musan" in done.stderr
    done = recipe(corpora, tmp_path, "--stop-stage", "1", "--expect", "published")
    assert done.returncode == 2 and "3 speakers instead of 797" in done.stderr


def test_dry_run_writes_nothing(corpora, tmp_path):
    printed = run(corpora, tmp_path, "--dry-run", "--stop-stage", "1")
    assert "would run (not done yet)" in printed and not (tmp_path / "data").exists()
