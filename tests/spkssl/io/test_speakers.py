import numpy as np
import pytest

from spkssl.errors import InputError
from spkssl.io.speakers import trial_speakers
from spkssl.io.tables import write_lists, write_table
from spkssl.io.trials import Trials

PAIRS = np.array([[0, 0, 1], [0, 1, 1]], np.int32)
TRIALS = Trials(["m1", "m2"], ["a2", "b2"], *PAIRS, np.array([True, False, True]))
SPEAKERS = {"a1": "a", "a2": "a", "b1": "b", "b2": "b"}


@pytest.fixture
def tables(tmp_path):
    write_table(tmp_path / "utt2spk", SPEAKERS)
    write_lists(tmp_path / "list.enroll", {"m1": ["a1"], "m2": ["b1", "b2"]})
    return tmp_path / "list.enroll", tmp_path / "utt2spk"


def test_model_speaks_as_its_first_utterance(tables):
    enrol, test = trial_speakers(TRIALS, *tables)
    assert (enrol == test).tolist() == [True, False, True] and enrol.tolist() == [0, 0, 1]


def test_utterances_that_are_their_own_speakers_are_no_speakers(tables):
    write_table(tables[1], {utt: utt for utt in SPEAKERS})
    assert trial_speakers(TRIALS, *tables) is None


def test_name_without_speaker_is_an_error(tables):
    tables[0].unlink()
    with pytest.raises(InputError, match="has no speaker of m1, m2"):
        trial_speakers(TRIALS, *tables)
