"""What an augmentation may draw, and the recipes of the published systems under their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KINDS = ("noise", "music", "speech")  # as MUSAN sorts its files


@dataclass(frozen=True)
class Source:
    """So many files of one kind, each with its own SNR in dB; several files of speech make a babble."""

    kind: str = "noise"
    files: tuple[int, int] = (1, 1)  # least and most
    snr: tuple[float, float] = (0.0, 15.0)

    def __post_init__(self) -> None:
        if not 1 <= self.files[0] <= self.files[1]:
            raise ValueError(f"files must be least, most with 1 <= least <= most (got {self.files})")
        if self.snr[0] > self.snr[1]:
            raise ValueError(f"snr must be low, high (got {self.snr})")


@dataclass(frozen=True)
class Mix:
    """Sources that are added together; one mix is drawn by weight."""

    sources: tuple[Source, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.sources or self.weight <= 0:
            raise ValueError("a mix needs at least one source and a weight above 0")


def _mix(*sources: tuple[str, tuple[int, int], tuple[float, float]]) -> Mix:
    return Mix(tuple(Source(*source) for source in sources))


_NOISE = ("noise", (1, 1), (0.0, 15.0))
_MUSIC = ("music", (1, 1), (5.0, 15.0))
_VOICE = ("speech", (1, 1), (13.0, 20.0))
_BABBLE = ("speech", (3, 8), (13.0, 20.0))

SINGLE = (_mix(_NOISE), _mix(_VOICE), _mix(_MUSIC))  # one interferer of a class drawn uniformly
BABBLE = (_mix(_NOISE), _mix(_BABBLE), _mix(_MUSIC))  # the same with a babble for speech


@dataclass(frozen=True)
class AugmentConfig:
    """Order: reverberation, noise (its SNR is against the reverberated crop), equalisation, masks."""

    name: str = "mini"
    # Weights of the four classes. Independent probabilities r and n: (1-r)(1-n), r(1-n), (1-r)n, r n.
    none: float = 1.0  # here r = .5, n = .8
    reverb: float = 1.0
    noise: float = 4.0
    both: float = 4.0
    mixes: tuple[Mix, ...] = (
        _mix(("noise", (1, 1), (3.0, 20.0))),
        _mix(("speech", (1, 1), (3.0, 20.0))),
        _mix(("music", (1, 1), (3.0, 20.0))),
    )
    mix_by_files: bool = False  # a mix's weight is also multiplied by how many files its first kind has
    snr_of: Literal["each", "sum"] = "each"  # sum: files at equal level, one SNR (the first source's) for their sum
    # energy: unit energy; gain: 10^(g/10) times the file, g ~ U(rir_gain); minmax: scaled to [0, 1], which adds a
    # pedestal that smears (SSRL's released code does it).
    rir_scale: Literal["energy", "gain", "minmax"] = "energy"
    rir_gain: tuple[float, float] = (-7.0, 3.0)
    rir_from_peak: bool = False  # drop what comes before the strongest tap
    eq: float = 0.0  # probability of a random smooth curve on the crop
    eq_sd: float = 4.0  # dB
    noise_eq_sd: float = 0.0  # dB: a curve on the noise before it is scaled; makes a small noise set larger
    mask: float = 0.0  # probability of masks
    time_masks: int = 1
    time_width: tuple[int, int] = (0, 9)  # frames, both included
    mel_masks: int = 1
    mel_width: tuple[int, int] = (0, 5)  # mel bands, both included
    mask_fill: Literal["floor", "mean"] = "floor"  # power 0, or the crop's mean of the band (feature domain only)

    def __post_init__(self) -> None:
        weights = (self.none, self.reverb, self.noise, self.both)
        if min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(f"none, reverb, noise, both are weights: none negative, not all 0 (got {weights})")
        if (self.noise > 0 or self.both > 0) and not self.mixes:
            raise ValueError("noise is asked for but mixes is empty")
        if not (0 <= self.eq <= 1 and 0 <= self.mask <= 1):
            raise ValueError(f"eq and mask are probabilities (got {self.eq}, {self.mask})")
        if self.eq_sd < 0 or self.noise_eq_sd < 0:
            raise ValueError(f"eq_sd and noise_eq_sd must not be negative (got {self.eq_sd}, {self.noise_eq_sd})")
        if self.time_masks < 0 or self.mel_masks < 0:
            raise ValueError("time_masks and mel_masks must not be negative")
        for name, (low, high) in (("time_width", self.time_width), ("mel_width", self.mel_width)):
            if not 0 <= low <= high:
                raise ValueError(f"{name} must be least, most (got {low}, {high})")

    @property
    def needs_noise(self) -> bool:
        return self.noise > 0 or self.both > 0

    @property
    def needs_rirs(self) -> bool:
        return self.reverb > 0 or self.both > 0


@dataclass(frozen=True)
class Rdino(AugmentConfig):
    """RDINO, MeMo (released code): clean 1/6, reverberation 1/8, noise 3/8, both 1/3."""

    name: str = "rdino"
    none: float = 4.0
    reverb: float = 3.0
    noise: float = 9.0
    both: float = 8.0
    mixes: tuple[Mix, ...] = SINGLE
    rir_scale: Literal["energy", "gain", "minmax"] = "gain"


@dataclass(frozen=True)
class Sdpn(Rdino):
    """SDPN: RDINO's classes and one time and one mel band erased with probability 0.2.

    The released code erases the same bands in all crops of an utterance; here each profile draws its own.
    """

    name: str = "sdpn"
    mask: float = 0.2


@dataclass(frozen=True)
class Dino(AugmentConfig):
    """wespeaker's DINO, SimCLR, MoCo: reverberation or noise, never both; any file of MUSAN."""

    name: str = "dino"
    none: float = 0.0
    reverb: float = 1.0
    noise: float = 1.0
    both: float = 0.0
    mixes: tuple[Mix, ...] = (_mix(_NOISE), _mix(("speech", (1, 1), (10.0, 30.0))), _mix(_MUSIC))
    mix_by_files: bool = True


@dataclass(frozen=True)
class SsrlPretrain(AugmentConfig):
    """SSRL stage 1: reverberation .4, noise .4, none .2; four kinds of sum at one SNR. RIRs keep unit energy."""

    name: str = "ssrl_pretrain"
    none: float = 1.0
    reverb: float = 2.0
    noise: float = 2.0
    both: float = 0.0
    mixes: tuple[Mix, ...] = (
        _mix(("noise", (1, 1), (0.0, 20.0))),
        _mix(("music", (1, 1), (0.0, 20.0))),
        _mix(("speech", (1, 1), (0.0, 20.0)), ("music", (1, 1), (0.0, 20.0))),
        _mix(("speech", (3, 8), (0.0, 20.0))),
    )
    snr_of: Literal["each", "sum"] = "sum"
    rir_from_peak: bool = True


@dataclass(frozen=True)
class Ssrl(SsrlPretrain):
    """SSRL stage 2, student's view: its "none" falls into the noise branch, so 1/3 reverberation and 2/3 noise."""

    name: str = "ssrl"
    none: float = 0.0
    reverb: float = 1.0
    noise: float = 2.0


@dataclass(frozen=True)
class SsrlFaithful(Ssrl):
    """SSRL stage 2 with the released code's scaling of RIRs to [0, 1]."""

    name: str = "ssrl_faithful"
    rir_scale: Literal["energy", "gain", "minmax"] = "minmax"


@dataclass(frozen=True)
class LglPretrain(AugmentConfig):
    """LGL stage I: reverberation only 1/4, noise only 1/4, both 1/2; one file also of speech."""

    name: str = "lgl_pretrain"
    none: float = 0.0
    reverb: float = 1.0
    noise: float = 1.0
    both: float = 2.0
    mixes: tuple[Mix, ...] = SINGLE
    rir_scale: Literal["energy", "gain", "minmax"] = "gain"


@dataclass(frozen=True)
class Lgl(AugmentConfig):
    """LGL stage II: reverberation and noise independently with 1/2 each; babbles of 3-8 files."""

    name: str = "lgl"
    none: float = 1.0
    reverb: float = 1.0
    noise: float = 1.0
    both: float = 1.0
    mixes: tuple[Mix, ...] = BABBLE


@dataclass(frozen=True)
class Aamsupcon(AugmentConfig):
    """AAMSupCon's augmented view: uniform over reverberation, babble, music, noise and "TV" (babble and music).

    The released code measures TV's music against speech with babble; here both SNRs are against the speech.
    """

    name: str = "aamsupcon"
    none: float = 0.0
    reverb: float = 1.0
    noise: float = 4.0
    both: float = 0.0
    mixes: tuple[Mix, ...] = (*BABBLE, _mix(_BABBLE, _MUSIC))


@dataclass(frozen=True)
class DlgLc(Aamsupcon):
    """wavlm_ssl_sv (DLG-LC): the same five and clean speech, six equal cases."""

    name: str = "dlg_lc"
    none: float = 1.0


@dataclass(frozen=True)
class Reverb(AugmentConfig):
    """One of the five views of AAMSupCon on CN-Celeb; so are the three that follow, and clean speech."""

    name: str = "reverb"
    none: float = 0.0
    reverb: float = 1.0
    noise: float = 0.0
    both: float = 0.0


@dataclass(frozen=True)
class Noise(Aamsupcon):
    name: str = "noise"
    reverb: float = 0.0
    mixes: tuple[Mix, ...] = (_mix(_NOISE),)


@dataclass(frozen=True)
class Music(Noise):
    name: str = "music"
    mixes: tuple[Mix, ...] = (_mix(_MUSIC),)


@dataclass(frozen=True)
class Babble(Noise):
    name: str = "babble"
    mixes: tuple[Mix, ...] = (_mix(_BABBLE),)


@dataclass(frozen=True)
class Always(AugmentConfig):
    """sslsv's default: reverberation and one noise, always."""

    name: str = "always"
    none: float = 0.0
    reverb: float = 0.0
    noise: float = 0.0
    both: float = 1.0
    mixes: tuple[Mix, ...] = SINGLE


AUGMENTS: dict[str, type[AugmentConfig]] = {
    cls.name: cls
    for cls in (
        AugmentConfig, Rdino, Sdpn, Dino, SsrlPretrain, Ssrl, SsrlFaithful, LglPretrain, Lgl, Aamsupcon, DlgLc,
        Reverb, Noise, Music, Babble, Always,
    )
}  # fmt: skip
