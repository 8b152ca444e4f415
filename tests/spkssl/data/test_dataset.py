import numpy as np
import pytest

from spkssl.data.dataset import Utterances, read_labels
from spkssl.errors import InputError
from spkssl.io.tables import write_table

NAMES = ["a", "b", "c"]


def test_utterances_are_sorted_and_know_their_frames(corpus):
    found = Utterances.open(corpus / "train", labels=corpus / "labels")
    assert found.names == sorted(found.names) and len(found) == 40 and found.num_classes == 8
    assert found.num_frames[0] == 1 + (8000 - 400) // 160
    assert (Utterances.open(corpus / "train", "wave").num_frames == found.num_frames).all()


def test_integer_labels_stand_for_themselves(tmp_path):
    write_table(tmp_path / "l", {"a": 4, "b": -1, "c": 0, "unused": 9})
    assert read_labels(tmp_path / "l", NAMES).tolist() == [4, -1, 0]


def test_names_of_speakers_are_numbered_in_byte_order(tmp_path):
    write_table(tmp_path / "l", {"a": "id9", "b": "id10", "c": "id9"})
    assert read_labels(tmp_path / "l", NAMES).tolist() == [1, 0, 1]


def test_missing_and_impossible_labels_are_the_users_error(tmp_path):
    write_table(tmp_path / "l", {"a": 4})
    with pytest.raises(InputError, match="l: no label for b, c"):
        read_labels(tmp_path / "l", NAMES)
    write_table(tmp_path / "l", dict(zip(NAMES, (1, -2, 0), strict=True)))
    with pytest.raises(InputError, match="label -2 of b"):
        read_labels(tmp_path / "l", NAMES)
    write_table(tmp_path / "l", dict.fromkeys(NAMES, -1))
    with pytest.raises(InputError, match="all utterances are left out"):
        read_labels(tmp_path / "l", NAMES)


def test_utterance_without_features_is_the_users_error(corpus, tmp_path):
    for name in ("feats.scp", "utt2num_frames"):
        (tmp_path / name).write_text((corpus / "train" / name).read_text())
    write_table(tmp_path / "utt2spk", {"u00": "u00", "x": "x"})
    with pytest.raises(InputError, match="feats.scp: lacks x"):
        Utterances.open(tmp_path)


def test_segments_are_cut_out_of_their_recording(corpus, tmp_path):
    path = next(iter((corpus / "train" / "wav").glob("u39.wav")))
    write_table(tmp_path / "wav.scp", {"r": path})
    write_table(tmp_path / "segments", {"r-0": "r 0.00 1.50", "r-1": "r 1.00 3.00"})
    parts = Utterances.open(tmp_path, "wave").store
    out = np.empty(8000, np.float32)
    whole = Utterances.open(corpus / "train", "wave").store
    expected = np.empty(8000, np.float32)
    parts.crop(out, 1, 10)
    whole.crop(expected, 39, 110)
    np.testing.assert_array_equal(out, expected)
