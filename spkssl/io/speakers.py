"""Who speaks in each trial: what intervals over speakers are drawn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spkssl.errors import complain, some
from spkssl.io.tables import read_table
from spkssl.io.trials import Trials, read_enrol_map


def trial_speakers(trials: Trials, enrolment: Path, utt2spk: Path) -> tuple[NDArray, NDArray] | None:
    """Speaker numbers (N,) of the enrolment and of the test side; None where utt2spk knows no speakers.

    `enrolment` is the map of models, which need not exist. An utt2spk that maps utterances to themselves contradicts
    the target trials, which is how it is told.
    """
    speaker = read_table(utt2spk)
    models = read_enrol_map(enrolment) if enrolment.exists() else {}
    owner = {name: utts[0] for name, utts in models.items()}
    enrol_names = [owner.get(name, name) for name in trials.enrol_names]
    unknown = [name for name in (*enrol_names, *trials.test_names) if name not in speaker]
    if unknown:
        raise complain(utt2spk, f"has no speaker of {some(dict.fromkeys(unknown))}", "use the table of the same set")
    number = {name: k for k, name in enumerate(sorted(set(speaker.values())))}
    enrol = np.array([number[speaker[name]] for name in enrol_names])[trials.enrol]
    test = np.array([number[speaker[name]] for name in trials.test_names])[trials.test]
    contradicts = trials.target is not None and ((enrol == test) != trials.target).any()
    return None if contradicts else (enrol, test)
