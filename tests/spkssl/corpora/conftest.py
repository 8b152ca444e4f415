"""Tiny corpora in the layouts of the distributed ones, once for all tests."""

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from spkssl.corpora.voxceleb import Voxceleb, prepare
from spkssl.corpora.voxceleb_layout import LISTS, read_expected

SCRIPT = Path(__file__).parents[2] / "voxceleb_corpora.py"


@pytest.fixture(scope="session")
def shared_voxceleb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg here: it makes the m4a files")
    spec = importlib.util.spec_from_file_location("voxceleb_corpora", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.make(tmp_path_factory.mktemp("corpora"))


@pytest.fixture
def corpora(shared_voxceleb: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return shutil.copytree(shared_voxceleb, tmp_path / "corpora")


def usual(root: Path, out: Path) -> Voxceleb:
    return Voxceleb(
        vox1=root / "voxceleb1", vox2=root / "voxceleb2", lists=root / "lists", out=out, audio=out / "audio",
        suffix="flac", trials=tuple(LISTS), expected=read_expected(str(root / "counts.json")), nj=2,
    )  # fmt: skip


@pytest.fixture(scope="session")
def decoded(shared_voxceleb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The decoded audio, for tests that are about something else."""
    made = usual(shared_voxceleb, tmp_path_factory.mktemp("decoded"))
    prepare(made)
    return made.out / "audio"


@pytest.fixture
def config(tmp_path: Path, decoded: Path) -> Callable[..., Voxceleb]:
    """How to prepare a copy of the corpora, apart from what a test says; decoded already unless `fresh`."""

    def make(root: Path, fresh: bool = False, **changed: object) -> Voxceleb:
        made = replace(usual(root, tmp_path / "data"), **changed)
        if not fresh and made.audio is not None and not made.audio.exists():
            shutil.copytree(decoded, made.audio)
        return made

    return make
