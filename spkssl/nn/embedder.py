"""The deliverable: a front-end and an encoder under one roof, saved with all it takes to rebuild them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spkssl.config import build, to_dict
from spkssl.errors import choose, complain, some
from spkssl.io.atomic import open_atomic
from spkssl.nn.ecapa import Ecapa, EcapaConfig
from spkssl.nn.frontend import Frontend, FrontendConfig
from spkssl.nn.resnet import ResNet, ResNetConfig
from spkssl.nn.wavlm import Wavlm, WavlmConfig
from spkssl.nn.weights import read_weights

# name -> (Config, class); the class is made by (config, num_mels) and has `embed_dim` and `min_frames`. With
# `takes_waves` it passes the front-end by; with `load_pretrained` a fresh one is not fresh.
ENCODERS: dict[str, tuple[type, type[nn.Module]]] = {
    "ecapa": (EcapaConfig, Ecapa),
    "resnet": (ResNetConfig, ResNet),
    "wavlm": (WavlmConfig, Wavlm),
}

_FORMAT = "spkssl-embedder-1"


def encoder_configs() -> dict[str, type]:
    """Name -> Config class of every encoder: the table for `config.choice`."""
    return {name: config for name, (config, _) in ENCODERS.items()}


def takes_waves(encoder_config: Any) -> bool:
    """Whether this encoder reads audio itself instead of log-mels."""
    return _takes_waves(ENCODERS[encoder_config.name][1])


class Embedder(nn.Module):
    """Waves (B, samples) in +-1 or log-mels (B, T, F) -> embeddings (B, D).

    All rows of a batch have one true length: padding a shorter one would change its embedding.
    """

    def __init__(self, frontend: Frontend, network: nn.Module, encoder_config: Any) -> None:
        super().__init__()
        self.frontend, self.network = frontend, network
        self.encoder_config = encoder_config
        self.embed_dim: int = network.embed_dim
        self.min_frames: int = network.min_frames
        self.takes_waves = _takes_waves(network)

    def forward(self, x: Tensor) -> Tensor:
        if not self.takes_waves:
            return self.network(self.frontend(x))
        if x.dim() != 2:
            raise complain("encoder", f"reads waves, not features (got {tuple(x.shape)})", "run with --input wave")
        return self.network(x)


def make_embedder(encoder_config: Any, frontend_config: FrontendConfig) -> Embedder:
    """A fresh embedder; weights come from torch's own stream, or from the file a pretrained encoder names."""
    embedder = _assemble(encoder_config, frontend_config)
    if hasattr(embedder.network, "load_pretrained"):
        embedder.network.load_pretrained()
    return embedder


def save_embedder(path: str | Path, embedder: Embedder) -> None:
    """Write weights (on the CPU) and both configs, atomically."""
    content = {
        "format": _FORMAT,
        "encoder": to_dict(embedder.encoder_config),
        "frontend": to_dict(embedder.frontend.config),
        # Only the network: the front-end's tables follow from its config.
        "weights": {name: value.detach().cpu() for name, value in embedder.network.state_dict().items()},
    }
    with open_atomic(path, "wb") as file:
        torch.save(content, file)


def load_embedder(path: str | Path) -> Embedder:
    """The embedder on the CPU in evaluation mode. A file that is not whole and ours is an InputError."""
    content = _read(path)
    tree = content["encoder"]
    name = choose(f"{path}: encoder.name", tree.get("name", ""), ENCODERS)
    encoder_config = build(ENCODERS[name][0], tree, path)
    embedder = _assemble(encoder_config, build(FrontendConfig, content["frontend"], path))
    _check_weights(path, content["weights"], embedder.network.state_dict())
    embedder.network.load_state_dict(content["weights"], strict=True)
    return embedder.eval()


def reads_waves(path: str | Path) -> bool:
    """Whether a saved embedder reads audio itself instead of log-mels; its weights are not read."""
    name = _read(path, mmap=True)["encoder"].get("name", "")
    return _takes_waves(ENCODERS[choose(f"{path}: encoder.name", name, ENCODERS)][1])


def start_from(embedder: Embedder, path: str | Path) -> None:
    """Take the weights of a saved embedder of the same configuration; another one is an InputError."""
    found = load_embedder(path)
    pairs = {
        "encoder": (found.encoder_config, embedder.encoder_config),
        "front-end": (found.frontend.config, embedder.frontend.config),
    }
    for what, (old, new) in pairs.items():
        if old != new:
            what = f"cannot be started from: its {what} is not this system's (got {old}, expected {new})"
            raise complain(path, what, "start from scratch, or keep the configuration it was trained with")
    embedder.network.load_state_dict(found.network.state_dict())


def _takes_waves(network: nn.Module | type[nn.Module]) -> bool:
    return getattr(network, "takes_waves", False)


def _assemble(encoder_config: Any, frontend_config: FrontendConfig) -> Embedder:
    frontend = Frontend(frontend_config)
    _, network = ENCODERS[choose("encoder.name", encoder_config.name, ENCODERS)]
    return Embedder(frontend, network(encoder_config, frontend.num_mels), encoder_config)


def _read(path: str | Path, mmap: bool = False) -> dict[str, Any]:
    content = read_weights(path, "name an encoder.pt written by spkssl pretrain or spkssl retrain", mmap)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        found = content.get("format", "none") if isinstance(content, dict) else type(content).__name__
        raise complain(path, f"is not an encoder of spkssl (format {found!r}, expected {_FORMAT!r})")
    parts = ("encoder", "frontend", "weights")
    missing = [part for part in parts if not isinstance(content.get(part), dict)]
    if missing:
        raise complain(path, f"is damaged: {some(missing)} missing", "write it again")
    return content


def _check_weights(path: str | Path, found: dict[str, Any], expected: dict[str, Tensor]) -> None:
    """What load_state_dict would say in many lines."""
    odd = sorted(found.keys() ^ expected.keys())
    if odd:
        raise complain(path, f"weights do not fit the encoder its config describes: {some(odd)} missing or left over")
    for name, value in expected.items():
        got = tuple(found[name].shape) if isinstance(found[name], Tensor) else type(found[name]).__name__
        if got != tuple(value.shape):
            raise complain(path, f"weight {name} has the wrong shape (got {got}, expected {tuple(value.shape)})")
