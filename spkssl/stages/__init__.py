"""The stages of a recipe, in order: the one table of their numbers, and the other commands."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    number: int | None  # the stage number in every run.sh; None: not a stage
    help: str


STAGES: dict[str, Command] = {
    "prepare": Command(1, "corpus -> data directories, trials, noise and RIR tables (the corpus's local/prepare.py)"),
    "features": Command(2, "wav.scp -> feats.scp and archives of log-mel features"),
    "pretrain": Command(3, "train an encoder without labels"),
    "extract": Command(4, "encoder and data directory -> embeddings"),
    "cluster": Command(5, "training embeddings -> pseudo labels"),
    "retrain": Command(6, "train on pseudo labels, a round at a time"),
    "score": Command(7, "embeddings and trials -> scores, EER, minDCF"),
    "report": Command(8, "results of a run -> tables, plots"),
}

COMMANDS: dict[str, Command] = {
    **{name: command for name, command in STAGES.items() if name != "prepare"},
    "synth": Command(None, "make the embedded synthesised corpus"),
    "validate": Command(None, "check data directories, and repair them with --fix"),
    "check": Command(None, "check the settings of all stages before the first one"),
    "stop": Command(6, "decide without labels whether a round is the last one"),
    "rounds": Command(None, "print how many rounds a run has"),
    "setting": Command(None, "print one setting of a system's YAML"),
    "doctor": Command(None, "check this machine and this installation"),
    "bench": Command(None, "measure speed, as ratios in one run"),
}
