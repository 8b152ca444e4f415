"""The deliverable: a front-end and an encoder under one roof, saved with all it takes to rebuild them."""

from __future__ import annotations

import pickle
import zipfile
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

# name -> (Config, class); the class is made by (config, num_mels) and has `embed_dim` and `min_frames`.
ENCODERS: dict[str, tuple[type, type[nn.Module]]] = {
    "ecapa": (EcapaConfig, Ecapa),
    "resnet": (ResNetConfig, ResNet),
}

_FORMAT = "spkssl-embedder-1"
# All that torch.load was seen to raise for broken and foreign files.
_UNREADABLE = (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, LookupError)


def encoder_configs() -> dict[str, type]:
    """Name -> Config class of every encoder: the table for `config.choice`."""
    return {name: config for name, (config, _) in ENCODERS.items()}


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

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.frontend(x))


def make_embedder(encoder_config: Any, frontend_config: FrontendConfig) -> Embedder:
    """A fresh embedder; weights come from torch's own stream."""
    frontend = Frontend(frontend_config)
    _, network = ENCODERS[choose("encoder.name", encoder_config.name, ENCODERS)]
    return Embedder(frontend, network(encoder_config, frontend.num_mels), encoder_config)


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
    embedder = make_embedder(encoder_config, build(FrontendConfig, content["frontend"], path))
    _check_weights(path, content["weights"], embedder.network.state_dict())
    embedder.network.load_state_dict(content["weights"], strict=True)
    return embedder.eval()


def _read(path: str | Path) -> dict[str, Any]:
    if not Path(path).is_file():
        raise complain(path, "no such file", "name an encoder.pt written by spkssl pretrain or spkssl retrain")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise complain(path, f"cannot be read as an encoder ({reason})", "write it again") from None
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
