"""How far the synthesised speakers, their sessions and their channels vary."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variation:
    """The standard corpus. `HARD` is the one where clusters are noisy and plain pseudo labels do not help."""

    spread: float = 1.3  # times the base spread of vocal tract and glottal source between speakers
    session_f0: float = 0.07  # log-normal, from session to session of one speaker
    session_formants: float = 0.012  # log-normal
    session_effort_db: float = 3.0
    utterance_f0: float = 0.04  # log-normal, from utterance to utterance of one session
    sessions: int = 4  # per speaker; the utterances are dealt to them in turn
    seconds: tuple[float, float] = (3.0, 5.0)
    eq_db: float = 2.5  # standard deviation of the session's equaliser
    telephone: float = 0.05  # share of the sessions
    reverberant: float = 0.7  # share of the sessions
    rt60: tuple[float, float] = (0.1, 0.5)
    snr_db: tuple[float, float] = (5.0, 25.0)

    def __post_init__(self) -> None:
        if self.sessions < 2:  # targets are across sessions
            raise ValueError(f"sessions must be at least 2, got {self.sessions}")
        for name in ("seconds", "rt60", "snr_db"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must be (low, high), got ({low}, {high})")
        if self.seconds[0] < 0.5 or self.rt60[0] <= 0:
            raise ValueError(f"utterances last at least 0.5 s and rooms ring, got {self.seconds} and {self.rt60}")


STANDARD = Variation()
HARD = Variation(spread=1.0, session_f0=0.12, session_formants=0.025, session_effort_db=5.0, sessions=5)
