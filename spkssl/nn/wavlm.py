"""ECAPA-TDNN on the layers of a pretrained WavLM (Chen et al., arXiv 2110.13900), as SSRL's larger system uses it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spkssl.errors import choose, complain, some
from spkssl.nn.ecapa import Ecapa, EcapaConfig
from spkssl.nn.weights import read_weights


@dataclass(frozen=True)
class Size:
    """The numbers in which torchaudio's WavLM models differ; all but the last carry its names."""

    extractor_mode: str
    encoder_embed_dim: int
    encoder_num_layers: int
    encoder_num_heads: int
    encoder_ff_interm_features: int
    encoder_layer_norm_first: bool
    normalise_wave: bool  # zero mean and unit variance per utterance, as in pretraining


SIZES: dict[str, Size] = {
    "base": Size("group_norm", 768, 12, 12, 3072, False, False),  # also base plus: other data, same network
    "large": Size("layer_norm", 1024, 24, 16, 4096, True, True),
}


@dataclass(frozen=True)
class WavlmConfig:
    name: str = "wavlm"
    size: str = "large"  # base | large
    weights: str = ""  # a state_dict in torchaudio's names, e.g. wavlm_large.pth; read once, when training starts
    frozen: bool = True  # SSRL: True for the classifier and the reflective rounds, False for the last epochs
    # SSRL: ECAPA C=1024, embedding 512
    ecapa: EcapaConfig = field(default_factory=lambda: EcapaConfig(channels=1024, aggregation=3072, embed_dim=512))


class Wavlm(nn.Module):
    """Waves (B, samples) in +-1 -> embeddings (B, D). Every utterance of a batch has the same length."""

    takes_waves = True

    def __init__(self, config: WavlmConfig, num_mels: int) -> None:
        super().__init__()
        self.config, self.size = config, SIZES[choose("encoder.size", config.size, SIZES)]
        self.wavlm = _architecture(self.size).requires_grad_(not config.frozen)
        self.layer_scores = nn.Parameter(torch.zeros(self.size.encoder_num_layers))
        self.ecapa = Ecapa(config.ecapa, self.size.encoder_embed_dim)
        self.embed_dim = config.ecapa.embed_dim
        # WavLM has a frame every 320 samples, the front-end one every 160; both look at 400.
        self.min_frames = 2 * self.ecapa.min_frames - 1

    def train(self, mode: bool = True) -> Wavlm:
        super().train(mode)
        if self.config.frozen:
            self.wavlm.eval()  # no dropout, no dropped layers
        return self

    def forward(self, x: Tensor) -> Tensor:
        if self.size.normalise_wave:
            x = F.layer_norm(x, x.shape[-1:])
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.frozen):
            layers, _ = self.wavlm.extract_features(x)  # L x (B, T, F)
        weights = torch.softmax(self.layer_scores, 0)
        mixed = sum(weight * layer for weight, layer in zip(weights, layers, strict=True))
        # Instance norm over time, as over log-mels.
        mixed = F.instance_norm(mixed.float().transpose(1, 2), eps=1e-5).transpose(1, 2)
        return self.ecapa(mixed)

    def load_pretrained(self) -> None:
        """Read the pretrained weights the config names."""
        path = self.config.weights
        found = read_weights(path, "let encoder.weights name a WavLM state_dict in torchaudio's form")
        expected = self.wavlm.state_dict()
        if not isinstance(found, dict):
            raise complain(path, f"is not a state_dict (got {type(found).__name__})")
        names = sorted(expected.keys() | found.keys(), key=str)
        odd = [name for name in names if _shape(expected.get(name)) != _shape(found.get(name))]
        if odd:
            raise complain(path, f"is not WavLM {self.config.size} in torchaudio's form: {some(odd)} do not fit")
        self.wavlm.load_state_dict(found, strict=True)


def _shape(value: object) -> torch.Size | None:
    return value.shape if isinstance(value, Tensor) else None


def _architecture(size: Size) -> nn.Module:
    from torchaudio.models import wavlm_model  # takes a second to import, and few runs need it

    numbers = asdict(size)
    del numbers["normalise_wave"]
    return wavlm_model(
        **numbers,
        extractor_conv_layer_config=None,
        extractor_conv_bias=False,
        encoder_projection_dropout=0.1,
        encoder_pos_conv_kernel=128,
        encoder_pos_conv_groups=16,
        encoder_num_buckets=320,
        encoder_max_distance=800,
        encoder_attention_dropout=0.1,
        encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.1,
        encoder_layer_drop=0.0,  # a dropped layer would be missing from the weighted sum
        aux_num_out=None,
    )
