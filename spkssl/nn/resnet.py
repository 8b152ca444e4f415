"""ResNet over the time-frequency plane (He et al., CVPR 2016) with statistics pooling, as speaker toolkits build it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from spkssl.nn.pooling import StatsPooling


@dataclass(frozen=True)
class ResNetConfig:
    """The defaults are wespeaker's ResNet34."""

    name: str = "resnet"
    width: int = 32  # channels of the first stage; MeMo and 3D-Speaker: 16
    blocks: tuple[int, ...] = (3, 4, 6, 3)  # ResNet34; each further stage doubles the channels and halves the plane
    embed_dim: int = 256
    embed_norm: bool = False  # BatchNorm on the embedding
    stride: int = 1  # of the first convolution, both ways; 2 is a quarter of the work, for small machines

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"stride must be at least 1 (got {self.stride})")
        if not self.blocks or min(self.blocks) < 1:
            raise ValueError(f"every stage needs a block (got blocks {self.blocks})")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """Normalised log-mels (B, T, F) -> embeddings (B, D)."""

    def __init__(self, config: ResNetConfig, num_mels: int) -> None:
        super().__init__()
        self.embed_dim, self.min_frames = config.embed_dim, 1
        self.conv = nn.Conv2d(1, config.width, 3, config.stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(config.width)
        inputs, mels, stages = config.width, (num_mels - 1) // config.stride + 1, []
        for i, count in enumerate(config.blocks):
            outputs, stride = config.width * 2**i, 1 if i == 0 else 2
            mels = (mels - 1) // stride + 1
            for j in range(count):
                stages.append(BasicBlock(inputs, outputs, stride if j == 0 else 1))
                inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.pool = StatsPooling(inputs * mels)
        self.linear = nn.Linear(self.pool.out_dim, config.embed_dim)
        self.embed_norm = nn.BatchNorm1d(config.embed_dim) if config.embed_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2).unsqueeze(1)  # (B, 1, F, T)
        x = self.stages(F.relu(self.norm(self.conv(x))))  # (B, C, F', T')
        return self.embed_norm(self.linear(self.pool(x.flatten(1, 2))))  # (B, D)
