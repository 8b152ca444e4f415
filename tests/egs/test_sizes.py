"""Every YAML of the two corpora at its published size: parameter counts, and one step on random data."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from spkssl import rng
from spkssl.config import read_yaml, to_dict
from spkssl.contract import Batch, Facts, Method, Progress, ViewSpec, samples_of
from spkssl.methods import make_method
from spkssl.nn.embedder import Embedder, make_embedder
from spkssl.nn.frontend import FrontendConfig
from spkssl.nn.wavlm import Wavlm, WavlmConfig
from spkssl.stages.settings import Settings
from spkssl.stages.system import System, build_system
from spkssl.training.optim import OptimConfig, clip_gradients, make_optimizer, set_lr

ROOT = Path(__file__).parents[2]
SYSTEMS = sorted(path for corpus in ("voxceleb", "cnceleb") for path in (ROOT / f"egs/{corpus}/conf").glob("*.yaml"))
VARIANTS = sorted((ROOT / "egs/voxceleb/conf/one_gpu").glob("*.yaml"))
ROWS = 2  # utterances in a step

# Parameters of encoder and head, published or as the released code makes them. A published count of a DINO head has a
# fixed gain for each of its 65536 outputs, which is not stored here.
GAINS = 65_536
WESPEAKER_C512 = 6_190_720  # wespeaker ECAPA_TDNN_GLOB_c512: 6.19 M
WESPEAKER_C512_NORM = WESPEAKER_C512 + 2 * 192  # with emb_bn
ECAPA_C1024 = 22_733_952  # modelscope/3D-Speaker sv-rdino, sv-sdpn; ZXHY-82/SSRL
TAO_C1024 = 15_444_544  # TaoRuijie/ECAPA-TDNN prints 14.73, in units of 1024 * 1024
LGL_C512 = 6_978_944  # TaoRuijie/Loss-Gated-Learning
MEMO_ECAPA, MEMO_RESNET = 6_390_720, 1_988_656  # MeMo's released code, ResNet34 at width 16
WAVLM_LARGE = 315_452_096  # torchaudio's
WAVLM_ECAPA = WAVLM_LARGE + 24 + ECAPA_C1024 + (1024 - 80) * 1024 * 5  # a weight for each layer; 1024 inputs, not 80
MEMO_HEAD = 22_098_176 - GAINS  # 256-2048-2048-256-65536
DINO_HEAD = MEMO_HEAD - (256 - 192) * 2048  # the same on 192
RDINO_HEAD = 40_980_736 - GAINS  # 512-2048-2048-8192-256-65536
SDPN_HEAD, SDPN_PROTOTYPES = 5_779_712, 262_144  # 512-2048-2048-256; 1024 x 256
LGL_PAIRS = 2 * 384 + 384 * 512 + 512 + 2 * 512 + 512 * 2 + 2  # its discriminator: norm, 384-512, norm, 512-2
COUNTS = {  # system -> encoder, and what else is trained in pretraining
    "aamsupcon": (TAO_C1024, DINO_HEAD),
    "dino": (WESPEAKER_C512_NORM, DINO_HEAD),
    "dlg_lc": (WESPEAKER_C512_NORM, DINO_HEAD),
    "lgl": (LGL_C512, LGL_PAIRS + 2),  # w and b of its similarity
    "memo": (MEMO_ECAPA, MEMO_RESNET + 4 * MEMO_HEAD),
    "moco": (WESPEAKER_C512, 0),
    "rdino": (ECAPA_C1024, RDINO_HEAD),
    "sdpn": (ECAPA_C1024, SDPN_HEAD + SDPN_PROTOTYPES),
    "simclr": (WESPEAKER_C512, 0),
    "ssrl": (ECAPA_C1024, RDINO_HEAD),
    "ssrl_wavlm": (WAVLM_ECAPA, RDINO_HEAD),
    "supmargincon": (TAO_C1024, 0),
}
BESIDE = {"cnceleb-aamsupcon": 0}  # what differs there: SimCLR without a projector


def name_of(path: Path) -> str:
    return f"{path.parents[1].name}-{path.stem}"


def read(path: Path) -> System:
    return build_system(Settings(read_yaml(path), str(path)))


def parts() -> list[Any]:
    both = [(path, part) for path in SYSTEMS for part in ("pretrain", "retrain")]
    return [pytest.param(*case, id=f"{name_of(case[0])}-{case[1]}") for case in both]


class Seen(NamedTuple):
    loss: float
    norm: float  # of the gradient
    moved: bool  # the parameter with the largest gradient
    encoder: int
    trained: int


@cache  # of the corpora's systems many are the same
def one_step(encoder: Any, frontend: FrontendConfig, mode: str, method: Any, classes: int, optim: OptimConfig) -> Seen:
    """Make the networks and the optimiser, take one step late in the run, when every phase is on."""
    model = make(encoder, frontend, method, classes)
    model.train()
    optimizer, t = make_optimizer(model, optim), Progress(150, 2, 100)
    set_lr(optimizer, optim, 256, t)
    views = {view.name: random_crops(view, mode) for view in model.views}
    label = torch.arange(ROWS) if classes else None
    step = model(Batch(views, torch.arange(ROWS), label), t)
    step.loss.backward()
    model.after_backward(t)
    norm = clip_gradients(optimizer, optim)
    largest = max((p for p in model.parameters() if p.grad is not None), key=lambda p: float(p.grad.norm()))
    before = largest.detach().clone()
    optimizer.step()
    model.after_step(t)
    counts = (sum(p.numel() for p in ps) for ps in (model.embedder().parameters(), trainable(model)))
    return Seen(float(step.loss.detach()), float(norm), not torch.equal(before, largest), *counts)


def make(encoder: Any, frontend: FrontendConfig, method: Any, classes: int) -> Method:
    def make_encoder(other: Any | None = None) -> Embedder:
        return make_embedder(other or encoder, frontend)

    labels, centroids = None, None
    if classes:
        labels = np.arange(ROWS, dtype=np.int64)
        centroids = rng.numpy(0, "centroids").standard_normal((classes, dim(encoder))).astype(np.float32)
    rng.seed_torch(0, "init")
    return make_method(method, make_encoder, Facts(ROWS, 0, classes, labels, centroids))


def random_crops(view: ViewSpec, mode: str) -> Tensor:
    shape = (samples_of(view.frames),) if mode == "wave" else (view.frames, 80)
    made = rng.numpy(0, "crops", view.name).standard_normal((ROWS, view.count, *shape)).astype(np.float32)
    return torch.from_numpy(0.1 * made if mode == "wave" else made)


def trainable(model: Method) -> list[Tensor]:
    return [p for p in model.parameters() if p.requires_grad]


def dim(encoder: Any) -> int:
    return encoder.ecapa.embed_dim if isinstance(encoder, WavlmConfig) else encoder.embed_dim


def test_every_system_has_its_counts():
    assert {path.stem for path in SYSTEMS} == COUNTS.keys()


@pytest.mark.slow
@pytest.mark.parametrize(("path", "part"), parts())
def test_networks_have_their_published_sizes_and_take_a_step(path, part, monkeypatch):
    monkeypatch.setattr(Wavlm, "load_pretrained", lambda self: None)  # random weights do
    system = read(path)
    section, classes = getattr(system, part), system.cluster.num_clusters if part == "retrain" else 0
    seen = one_step(
        system.encoder, system.frontend_config, system.data.input, section.method, classes, section.loop.optim
    )
    encoder, beside = COUNTS[path.stem]
    beside = classes * dim(system.encoder) if classes else BESIDE.get(name_of(path), beside)
    frozen = WAVLM_LARGE if isinstance(system.encoder, WavlmConfig) else 0
    assert (seen.encoder, seen.trained) == (encoder, encoder + beside - frozen)
    assert np.isfinite(seen.loss) and np.isfinite(seen.norm) and seen.norm > 0 and seen.moved


def test_every_voxceleb_system_has_a_variant_for_one_gpu():
    assert [path.name for path in VARIANTS] == [path.name for path in SYSTEMS if "voxceleb" in path.parts]


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)
def test_on_one_gpu_the_batch_stays_and_is_made_of_equal_parts(path):
    """Whatever else differs is the centre's momentum, so that a step moves it as far as before."""
    variant, published = to_dict(read(path)), to_dict(read(path.parents[1] / path.name))
    for part in ("pretrain", "retrain"):
        loop = variant[part]["loop"]
        parts, rest = divmod(loop["batch_size"], loop["accumulate"])
        assert rest == 0 and parts >= 30
        targets = variant[part]["method"].get("targets")
        if targets is not None:
            assert targets["centre_momentum"] ** loop["accumulate"] == pytest.approx(0.9, abs=1e-3)
            targets["centre_momentum"] = 0.9
        loop["accumulate"] = 1
    assert variant == published
