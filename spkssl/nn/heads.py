"""What stands on the embedding while training: projection heads, prototypes, classifiers, the AAT discriminator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def cosines(x: Tensor, rows: Tensor) -> Tensor:
    """Cosine of every vector with every row: (B, D), (K, D) -> (B, K). Float32 even under autocast."""
    with torch.autocast(x.device.type, enabled=False):
        dtype = torch.promote_types(x.dtype, rows.dtype)
        return F.linear(F.normalize(x.to(dtype), dim=-1), F.normalize(rows.to(dtype), dim=-1))


class CosineLayer(nn.Module):
    """Linear map whose rows have unit norm at use: a weight-normed layer with its gains fixed at 1.

    The input must have unit norm; then the outputs are cosines. Runs in half precision under autocast, unlike
    `cosines`: with tens of thousands of outputs this is the most expensive layer of a DINO system.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Linear(inputs, outputs, bias=False).weight.detach())  # torch's default directions

    def rows(self) -> Tensor:
        """(K, D), unit norm."""
        return F.normalize(self.weight, dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.rows())


@dataclass(frozen=True)
class DinoHeadConfig:
    hidden: int = 2048
    bottleneck: int = 256
    out: int = 65536  # cut it on small corpora: a few times the number of speakers
    norm: bool = True  # BatchNorm in the hidden layers
    wide: int = 0  # RDINO: 8192; the layer whose output is regularised


class DinoOutput(NamedTuple):
    logits: Tensor  # (B, K) cosines
    wide: Tensor | None  # (B, W) z_reg of RDINO


class DinoHead(nn.Module):
    """Linear, BN, GELU twice; [wide]; bottleneck; L2; rows of unit norm (DINO, arXiv 2104.14294; RDINO, 2211.04168)."""

    def __init__(self, inputs: int, config: DinoHeadConfig) -> None:
        super().__init__()
        self.trunk = _mlp([inputs, config.hidden, config.hidden], norm=config.norm)
        self.wide = nn.Linear(config.hidden, config.wide) if config.wide else None
        self.bottleneck = nn.Linear(config.wide or config.hidden, config.bottleneck)
        _init_truncated(self)
        self.last_layer = CosineLayer(config.bottleneck, config.out)

    def forward(self, x: Tensor) -> DinoOutput:
        x = self.trunk(x)  # (B, hidden)
        wide = None if self.wide is None else self.wide(x)  # (B, W)
        x = F.normalize(self.bottleneck(x if wide is None else wide), dim=-1)  # (B, bottleneck)
        return DinoOutput(self.last_layer(x), wide)


def last_layers(module: nn.Module) -> Iterator[nn.Parameter]:
    """Parameters of every `last_layer` inside: those whose gradients DINO drops in its first epoch."""
    for name, parameter in module.named_parameters():
        if "last_layer" in name.split("."):
            yield parameter


@dataclass(frozen=True)
class ProjectionConfig:
    """Defaults: the head of SDPN."""

    hidden: int = 2048
    out: int = 256
    norm: bool = True


class ProjectionOutput(NamedTuple):
    unit: Tensor  # (B, out) on the unit sphere
    raw: Tensor  # (B, out) before the normalisation, for the dimension regulariser


class ProjectionHead(nn.Module):
    """Linear, BN, GELU twice; linear; L2 (SDPN, arXiv 2308.02774)."""

    def __init__(self, inputs: int, config: ProjectionConfig) -> None:
        super().__init__()
        self.trunk = _mlp([inputs, config.hidden, config.hidden], norm=config.norm)
        self.out = nn.Linear(config.hidden, config.out)
        _init_truncated(self)

    def forward(self, x: Tensor) -> ProjectionOutput:
        raw = self.out(self.trunk(x))
        return ProjectionOutput(F.normalize(raw, dim=-1), raw)


def projector(inputs: int, hidden: int, out: int) -> nn.Module:
    """Linear, ReLU, linear (SimCLR, SupCon); with hidden 0 the identity."""
    if not hidden:
        return nn.Identity()
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, out))


class Prototypes(nn.Module):
    """K unit vectors; forward gives cosines (B, K) of unit inputs. SDPN shares one bank between both branches."""

    def __init__(self, num: int, dim: int) -> None:
        super().__init__()
        bound = dim**-0.5
        self.weight = nn.Parameter(torch.empty(num, dim).uniform_(-bound, bound))

    def rows(self) -> Tensor:
        """(K, D), unit norm."""
        return F.normalize(self.weight, dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        return cosines(x, self.weight)


class CosineClassifier(nn.Module):
    """Cosines of embeddings with class weights, (B, D) -> (B, K); the margin is the loss's business.

    With S sub-centres a class is as near as the nearest of its S rows (sub-center ArcFace); row k S + s is class k.
    """

    def __init__(self, dim: int, classes: int, sub_centres: int = 1) -> None:
        super().__init__()
        self.sub_centres = sub_centres
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(classes * sub_centres, dim)))

    @torch.no_grad()
    def start_from(self, centroids: Tensor) -> None:
        """Put the class centroids (K, D) into the rows, as they are; the first sub-centre where there are several."""
        rows = self.weight[:: self.sub_centres]
        _check_centroids(centroids, rows)
        rows.copy_(centroids)

    def forward(self, x: Tensor) -> Tensor:
        out = cosines(x, self.weight)  # (B, K S)
        return out if self.sub_centres == 1 else out.unflatten(1, (-1, self.sub_centres)).amax(-1)


class LinearClassifier(nn.Module):
    """Dropout and a linear map with zero initial bias, (B, D) -> (B, K): SSRL's other head."""

    def __init__(self, dim: int, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, classes)
        nn.init.zeros_(self.linear.bias)

    @property
    def weight(self) -> nn.Parameter:
        return self.linear.weight

    @torch.no_grad()
    def start_from(self, centroids: Tensor) -> None:
        """Put the class centroids (K, D) into the rows, as they are."""
        _check_centroids(centroids, self.linear.weight)
        self.linear.weight.copy_(centroids)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.dropout(x))


class Similarity(nn.Module):
    """w cos + b with learned w and b: the angular prototypical loss's scale and bias (LGL stage I)."""

    def __init__(self, scale: float = 10.0, bias: float = -5.0, trainable: bool = True) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale), requires_grad=trainable)
        self.bias = nn.Parameter(torch.tensor(bias), requires_grad=trainable)

    def forward(self, cosine: Tensor) -> Tensor:
        return self.scale.clamp(min=1e-6) * cosine + self.bias


class Discriminator(nn.Module):
    """Same or different channel, from a pair of embeddings: (B, D), (B, D) -> (B, 2) (AAT; Huh et al., 2007.12085)."""

    def __init__(self, dim: int, hidden: int = 512) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(2 * dim),
            nn.ReLU(),
            nn.Linear(2 * dim, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2),
        )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.layers(torch.cat((a, b), 1))


def _mlp(sizes: list[int], *, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), *([nn.BatchNorm1d(outputs)] if norm else []), nn.GELU()]
    return nn.Sequential(*layers)


def _init_truncated(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)  # cut at +-2 absolute, as DINO does
            nn.init.zeros_(layer.bias)


def _check_centroids(centroids: Tensor, rows: Tensor) -> None:
    if centroids.shape != rows.shape:
        raise ValueError(f"centroids {tuple(centroids.shape)} do not fit the class weights {tuple(rows.shape)}")
