import pickle

import numpy as np
import pytest

from spkssl.errors import InputError
from spkssl.io.ark import write_ark
from spkssl.io.datadir import DataDir, Excerpt


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_scp", ".scp")).write_text(text)
    return DataDir(folder)


def test_utterances_are_in_byte_order_wherever_they_come_from(tmp_path):
    assert write(tmp_path / "a", utt2spk="id10-a s\nid1-a s\nid1_a s\n").utts == ["id1-a", "id10-a", "id1_a"]
    assert write(tmp_path / "b", wav_scp="y y.wav\nx x.wav\n").utts == ["x", "y"]
    assert write(tmp_path / "c", wav_scp="r r.wav\n", segments="u r 0 1\n").utts == ["u"]
    with pytest.raises(InputError, match="neither utt2spk"):
        _ = write(tmp_path / "d").utts


def test_audio_of_an_utterance_is_a_file_or_a_piece_of_one(tmp_path):
    assert write(tmp_path / "a", wav_scp="u my file.wav\n").audio("u") == Excerpt("my file.wav", 0.0, None)
    data = write(tmp_path / "b", wav_scp="r r.wav\n", segments="u r 0.5 2\nv q 0 1\n")
    assert data.audio("u") == Excerpt("r.wav", 0.5, 2.0)
    with pytest.raises(InputError, match="wav.scp: has no recording q"):
        data.audio("v")
    with pytest.raises(InputError, match="segments: has no utterance w"):
        data.audio("w")


def test_piped_recordings_are_refused(tmp_path):
    with pytest.raises(InputError, match="piped commands for u"):
        _ = write(tmp_path / "a", wav_scp="u sox a.flac -t wav - |\n").wav


def test_speakers_and_their_utterances_are_sorted(tmp_path):
    data = write(tmp_path / "a", utt2spk="b-1 b\na-2 a\na-1 a\n")
    assert data.spk2utt == {"a": ["a-1", "a-2"], "b": ["b-1"]} and list(data.spk2utt) == ["a", "b"]


def test_frames_and_durations_are_computed_where_no_table_says_them(tmp_path):
    write_ark(tmp_path / "f.ark", tmp_path / "feats.scp", {"u": np.zeros((98, 4), np.float32)})
    data = DataDir(tmp_path)
    assert data.num_frames == {"u": 98}
    assert data.durations["u"] == pytest.approx(0.995)
    (tmp_path / "frame_shift").write_text("0.02\n")
    assert DataDir(tmp_path).durations["u"] == pytest.approx(1.99)
    (tmp_path / "utt2dur").write_text("u 7.5\n")
    (tmp_path / "utt2num_frames").write_text("u 5\n")
    assert (DataDir(tmp_path).durations, DataDir(tmp_path).num_frames) == ({"u": 7.5}, {"u": 5})


def test_durations_of_segments_are_their_lengths(tmp_path):
    assert write(tmp_path / "a", wav_scp="r r.wav\n", segments="u r 0.5 2\n").durations == {"u": 1.5}


@pytest.mark.parametrize(
    ("name", "line"), [("utt2num_frames", "u 1.5"), ("utt2num_frames", "u 0"), ("utt2dur", "u nan")]
)
def test_numbers_must_be_positive(tmp_path, name, line):
    data = write(tmp_path / "a", **{name: line + "\n"})
    with pytest.raises(InputError, match=f"{name}: u: expected a positive number"):
        _ = data.num_frames if name == "utt2num_frames" else data.durations


@pytest.mark.parametrize("line", ["u r 2 1", "u r 1 1", "u r 1", "u r 0 -1", "u r 0 1 2", "u r a b"])
def test_segments_have_a_positive_length(tmp_path, line):
    with pytest.raises(InputError, match="segments: u: expected"):
        _ = write(tmp_path / "a", segments=line + "\n").segments


def test_require_names_what_a_table_lacks_or_has_too_much(tmp_path):
    data = write(tmp_path / "a", utt2spk="a a\nb b\n", utt2dur="a 1\nc 1\nd 1\n")
    with pytest.raises(InputError, match="utt2dur: lacks b of the 2 utterances"):
        data.require("utt2dur", data.durations)
    with pytest.raises(InputError, match="has utterances that the set lacks: c"):
        data.require("x", {"a": 1, "b": 1, "c": 1})
    data.require("utt2spk", data.utt2spk)


def test_directory_that_is_missing_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no such data directory"):
        DataDir(tmp_path / "nowhere")


def test_directory_is_picklable_with_what_it_has_read(tmp_path):
    data = write(tmp_path / "a", utt2spk="u s\n")
    assert data.utts == pickle.loads(pickle.dumps(data)).utts == ["u"]
