"""ECAPA-TDNN (Desplanques, Thienpondt, Demuynck, Interspeech 2020, arXiv 2005.07143) in its published layouts.

The released networks share the paper's idea and differ in padding, in what feeds each block and in where they
normalise; `LAYOUTS` says how. Everything else is a number of the config. A batch holds crops of one length: padding
and attention see every frame, so a shorter utterance padded to its neighbours would get another embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spkssl.errors import complain
from spkssl.nn.pooling import AttentiveStats


@dataclass(frozen=True)
class Layout:
    """What is not a size."""

    padding: Literal["reflect", "zeros"]
    summed_inputs: bool  # block i reads the sum of all before it, not only the last
    first_chunk_passes: bool  # Res2: the chunk without a convolution is the first, else the last
    norm_in_gate: bool  # BatchNorm inside the squeeze-and-excitation
    norm_aggregation: bool  # BatchNorm after the aggregation
    norm_attention: bool  # ReLU and BatchNorm in the attention, before its tanh
    var_floor: float  # clamp of the variances in the pooling
    context_correction: int  # 1: unbiased variance in the attention's context


LAYOUTS: dict[str, Layout] = {
    # speechbrain, lobes/models/ECAPA_TDNN.py; also 3D-Speaker's RDINO, SDPN and SSRL.
    "speechbrain": Layout("reflect", False, True, False, True, True, 1e-12, 0),
    # TaoRuijie/Loss-Gated-Learning.
    "lgl": Layout("zeros", True, False, True, False, True, 1e-4, 1),
    # TaoRuijie/ECAPA-TDNN, the encoder of AAMSupCon: no BatchNorm in the gate.
    "tao": Layout("zeros", True, False, False, False, True, 1e-4, 1),
    # wenet-e2e/wespeaker: tanh straight after the first linear map of the attention.
    "wespeaker": Layout("zeros", False, False, False, False, False, 1e-7, 1),
}


@dataclass(frozen=True)
class EcapaConfig:
    """The defaults are the small SpeechBrain network with 192 outputs."""

    name: str = "ecapa"
    layout: Literal["speechbrain", "lgl", "tao", "wespeaker"] = "speechbrain"
    channels: int = 512
    aggregation: int = 0  # channels after the aggregation; 0 = three times `channels`. lgl, tao, wespeaker: 1536
    embed_dim: int = 192
    embed_norm: bool = False  # BatchNorm on the embedding: lgl, tao, and wespeaker's DINO
    se_channels: int = 128
    attention_channels: int = 128  # lgl, tao: 256
    scale: int = 8  # Res2Net chunks
    kernels: tuple[int, int, int, int] = (5, 3, 3, 3)
    dilations: tuple[int, int, int, int] = (1, 2, 3, 4)
    stride: int = 1  # of the first convolution; 2 halves the frames, for small machines

    def __post_init__(self) -> None:
        if self.channels % self.scale:
            raise ValueError(f"channels {self.channels} do not divide into scale {self.scale} chunks")
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels must be odd (got {self.kernels})")


class Tdnn(nn.Module):
    """Convolution over time that keeps the length (over the stride), ReLU, BatchNorm."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        dilation: int,
        layout: Layout,
        *,
        stride: int = 1,
        norm: bool = True,
    ) -> None:
        super().__init__()
        self.pad = (kernel - 1) * dilation // 2
        self.reflect = self.pad > 0 and layout.padding == "reflect"
        pad = 0 if self.reflect else self.pad
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride=stride, dilation=dilation, padding=pad)
        self.norm = nn.BatchNorm1d(outputs) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.reflect:
            x = F.pad(x, (self.pad, self.pad), mode="reflect")
        return self.norm(F.relu(self.conv(x)))


class Res2(nn.Module):
    """Chunks of the channels, each convolved after the result of the one before has been added."""

    def __init__(self, channels: int, scale: int, kernel: int, dilation: int, layout: Layout) -> None:
        super().__init__()
        self.scale, self.first_passes = scale, layout.first_chunk_passes
        width = channels // scale
        self.units = nn.ModuleList(Tdnn(width, width, kernel, dilation, layout) for _ in range(scale - 1))

    def forward(self, x: Tensor) -> Tensor:
        chunks = list(x.chunk(self.scale, 1))
        passed = chunks.pop(0 if self.first_passes else -1)
        outputs: list[Tensor] = []
        for unit, chunk in zip(self.units, chunks, strict=True):
            outputs.append(unit(chunk + outputs[-1] if outputs else chunk))
        return torch.cat([passed, *outputs] if self.first_passes else [*outputs, passed], 1)


class Gate(nn.Module):
    """Squeeze-and-excitation: every channel is scaled by what the mean over time says."""

    def __init__(self, channels: int, bottleneck: int, layout: Layout) -> None:
        super().__init__()
        self.squeeze = nn.Conv1d(channels, bottleneck, 1)
        self.norm = nn.BatchNorm1d(bottleneck) if layout.norm_in_gate else nn.Identity()
        self.excite = nn.Conv1d(bottleneck, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(F.relu(self.squeeze(x.mean(-1, keepdim=True))))  # (B, bottleneck, 1)
        return x * torch.sigmoid(self.excite(hidden))


class Block(nn.Module):
    """SE-Res2Net block with a residual connection."""

    def __init__(self, config: EcapaConfig, kernel: int, dilation: int, layout: Layout) -> None:
        super().__init__()
        self.before = Tdnn(config.channels, config.channels, 1, 1, layout)
        self.res2 = Res2(config.channels, config.scale, kernel, dilation, layout)
        self.after = Tdnn(config.channels, config.channels, 1, 1, layout)
        self.gate = Gate(config.channels, config.se_channels, layout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate(self.after(self.res2(self.before(x))))


class Ecapa(nn.Module):
    """Normalised log-mels (B, T, F) -> embeddings (B, D)."""

    def __init__(self, config: EcapaConfig, num_mels: int) -> None:
        super().__init__()
        layout = LAYOUTS[config.layout]
        width = config.aggregation or 3 * config.channels
        self.embed_dim, self.stride, self.summed = config.embed_dim, config.stride, layout.summed_inputs
        kernel, dilation = config.kernels[0], config.dilations[0]
        self.first = Tdnn(num_mels, config.channels, kernel, dilation, layout, stride=config.stride)
        self.blocks = nn.ModuleList(
            Block(config, kernel, dilation, layout)
            for kernel, dilation in zip(config.kernels[1:], config.dilations[1:], strict=True)
        )
        self.aggregate = Tdnn(3 * config.channels, width, 1, 1, layout, norm=layout.norm_aggregation)
        self.pool = AttentiveStats(
            width,
            config.attention_channels,
            norm=layout.norm_attention,
            var_floor=layout.var_floor,
            context_correction=layout.context_correction,
        )
        self.pool_norm = nn.BatchNorm1d(2 * width)
        self.linear = nn.Linear(2 * width, config.embed_dim)
        self.embed_norm = nn.BatchNorm1d(config.embed_dim) if config.embed_norm else nn.Identity()
        reach = max((k - 1) * d // 2 for k, d in zip(config.kernels[1:], config.dilations[1:], strict=True))
        self.min_frames = reach * config.stride + 1  # reflection needs more frames than it mirrors

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] < self.min_frames:
            raise complain("ecapa", f"too few frames (got {x.shape[1]}, expected at least {self.min_frames})")
        x = self.first(x.transpose(1, 2))  # (B, C, T)
        outputs: list[Tensor] = []
        for block in self.blocks:
            outputs.append(block(x))
            x = x + outputs[-1] if self.summed else outputs[-1]
        x = self.aggregate(torch.cat(outputs, 1))  # (B, A, T)
        return self.embed_norm(self.linear(self.pool_norm(self.pool(x))))  # (B, D)
