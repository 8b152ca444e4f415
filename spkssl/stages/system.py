"""A system: one YAML, one typed section for each stage. Importing it loads the networks; `Settings` does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from spkssl import config
from spkssl.audio.augment.config import AUGMENTS
from spkssl.audio.extract import FeaturesConfig
from spkssl.backend.scoring import ScoreConfig
from spkssl.cluster import ClusterConfig
from spkssl.data.samplers import SamplerConfig
from spkssl.methods import configs
from spkssl.nn.embedder import encoder_configs
from spkssl.nn.frontend import FrontendConfig
from spkssl.stages.settings import Settings
from spkssl.stages.stage import say
from spkssl.training.loop import LoopConfig
from spkssl.training.rounds import RoundStopConfig


@dataclass(frozen=True)
class DataConfig:
    train: str = "train"  # names of the sets below --data
    noise: str = "noise"
    rir: str = "rir"
    input: Literal["feats", "wave"] = "feats"
    cache_gb: float = 2.0  # features are kept in memory when they fit in this
    workers: int = 0  # processes that prepare batches; 0: the training process itself


@dataclass(frozen=True)
class FrontendSection:
    """What happens to log-mels inside the encoder; how they are computed is the section `features`."""

    norm: Literal["mean", "mean_var", "none"] = "mean"
    log_floor: float | None = None


@dataclass(frozen=True)
class PretrainConfig:
    method: Any = config.choice(lambda: configs("pretrain"), "dino")
    loop: LoopConfig = LoopConfig()
    sampler: SamplerConfig = SamplerConfig()
    augment: Any = config.choice(lambda: AUGMENTS, "mini")
    augment_views: Any = config.choices(lambda: AUGMENTS, "mini")  # kind of view -> its own, instead of `augment`


@dataclass(frozen=True)
class RetrainConfig:
    method: Any = config.choice(lambda: configs("retrain"), "aam")
    loop: LoopConfig = LoopConfig()
    sampler: SamplerConfig = SamplerConfig()
    augment: Any = config.choice(lambda: AUGMENTS, "mini")
    augment_views: Any = config.choices(lambda: AUGMENTS, "mini")  # kind of view -> its own, instead of `augment`
    rounds: int = 2  # how many the recipe runs, unless --rounds says otherwise
    stop: RoundStopConfig = RoundStopConfig()  # ... or this rule ends them before
    start: Literal["scratch", "pretrain", "previous"] = "scratch"  # whose encoder weights a round begins with


@dataclass(frozen=True)
class ExtractConfig:
    batch_frames: int = 30000  # of one batch: five minutes of speech


@dataclass(frozen=True)
class System:
    system: str = "system"
    seed: int = 0
    data: DataConfig = DataConfig()
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    frontend: FrontendSection = FrontendSection()
    encoder: Any = config.choice(encoder_configs, "ecapa")
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    extract: ExtractConfig = ExtractConfig()
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    retrain: RetrainConfig = field(default_factory=RetrainConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)

    @property
    def frontend_config(self) -> FrontendConfig:
        return FrontendConfig(self.features.fbank, self.frontend.norm, self.frontend.log_floor)


def build_system(settings: Settings) -> System:
    """The typed system; every key of the YAML is checked, also of the stages that do not run now."""
    return config.build(System, settings.settle(System)[0], settings.source)


def tell_replaced(settings: Settings, *sections: str) -> None:
    """Say what became of the YAML's keys where --set replaced a choice in these sections."""
    for each in settings.settle(System)[1]:
        if each.key.split(".")[0] in sections:
            say(str(each))
