import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spkssl.errors import InputError
from spkssl.io.trials import Trials, read_enrol_map, read_trials, resolve, write_trials

names = st.text(st.characters(codec="utf-8", min_codepoint=33), min_size=1, max_size=6).filter(
    lambda text: text.encode().split() == [text.encode()] and text not in ("0", "1", "target", "nontarget")
)


def pairs(trials):
    return [tuple(trials.name(row).split(" ")) for row in range(len(trials))]


def make(rows):
    enrol, test = sorted({row[0] for row in rows}), sorted({row[1] for row in rows})
    index = [[enrol.index(row[0]) for row in rows], [test.index(row[1]) for row in rows]]
    target = None if len(rows[0]) == 2 else np.array([row[2] for row in rows])
    return Trials(enrol, test, np.array(index[0], np.int32), np.array(index[1], np.int32), target)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(names, names, st.booleans()), min_size=1, max_size=20), st.booleans())
def test_trials_come_back_in_their_order(tmp_path_factory, rows, labelled):
    path = tmp_path_factory.mktemp("t") / "trials"
    rows = rows if labelled else [row[:2] for row in rows]
    write_trials(path, make(rows))
    got = read_trials(path)
    assert pairs(got) == [row[:2] for row in rows]
    assert got.target is None if not labelled else got.target.tolist() == [row[2] for row in rows]
    assert len(set(got.enrol_names)) == len(got.enrol_names)


def test_voxceleb_form_means_the_same_as_kaldis(tmp_path):
    (tmp_path / "k").write_text("a x target\nb y nontarget\na y nontarget\n")
    (tmp_path / "v").write_text("1 a x\n0 b y\n0 a y\n")
    kaldi, voxceleb = read_trials(tmp_path / "k"), read_trials(tmp_path / "v")
    assert pairs(kaldi) == pairs(voxceleb) == [("a", "x"), ("b", "y"), ("a", "y")]
    assert kaldi.target.tolist() == voxceleb.target.tolist() == [True, False, False]
    assert kaldi.enrol.dtype == np.int32 and kaldi.enrol.tolist() == [0, 1, 0]


def test_speaker_called_1_is_no_voxceleb_label(tmp_path):
    (tmp_path / "t").write_text("1 x target\n0 x nontarget\n")
    assert pairs(read_trials(tmp_path / "t")) == [("1", "x"), ("0", "x")]


@pytest.mark.parametrize("ending", ["\n", ""])
def test_any_white_space_separates(tmp_path, ending):
    (tmp_path / "t").write_text("a\tx  target\r\n b y nontarget" + ending)
    assert pairs(read_trials(tmp_path / "t")) == [("a", "x"), ("b", "y")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a x target\na y\n", r"t:2: got 'a y', expected `enrol test target\|nontarget`"),
        ("a x target\na y nontarget z\n", "t:2: "),
        ("a x target\nb\nc d e y target\n", "t:2: got 'b'"),
        ("a x target\n\nb y target\n", "t:2: got 'an empty line'"),
        ("a x target\nb y Target\n", "t:2: got 'b y Target'"),
        ("1 a x\n2 a x\n", "t:2: got '2 a x', expected `1.0 enrol test`"),
        ("a x maybe\n", "t:1: "),
        ("a\n", "t:1: "),
        ("", "t:1: the file is empty"),
    ],
)
def test_malformed_line_is_named(tmp_path, content, message):
    (tmp_path / "t").write_text(content)
    with pytest.raises(InputError, match=message):
        read_trials(tmp_path / "t")


def test_line_numbers_hold_beyond_the_first_block(tmp_path, monkeypatch):
    monkeypatch.setattr("spkssl.io.columns._BLOCK", 64)
    (tmp_path / "t").write_text("a x target\n" * 99 + "a x\n" + "a x target\n" * 50)
    with pytest.raises(InputError, match="t:100: "):
        read_trials(tmp_path / "t")


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_that_cut_lines_change_nothing(tmp_path, monkeypatch, block):
    labels = ["nontarget", "target", "target"]
    (tmp_path / "t").write_text("".join(f"e{i % 5} t{i % 7} {labels[i % 3]}\n" for i in range(100)))
    whole = read_trials(tmp_path / "t")
    monkeypatch.setattr("spkssl.io.columns._BLOCK", block)
    cut = read_trials(tmp_path / "t")
    assert pairs(cut) == pairs(whole) and (cut.target == whole.target).all() and cut.enrol_names == whole.enrol_names


def test_resolve_gives_rows_of_the_keys():
    trials = make([("b", "y", True), ("a", "x", False)])
    got, dropped = resolve(trials, ["a", "b", "c"], ["y", "x"], "trials")
    assert dropped == 0 and got.enrol.tolist() == [1, 0] and got.test.tolist() == [0, 1]


def test_missing_embedding_is_an_error_unless_allowed():
    trials = make([("a", "x", True), ("b", "x", False), ("a", "y", False)])
    with pytest.raises(InputError, match="2 of 3 trials cannot be scored, there is no entry for b, y"):
        resolve(trials, ["a"], ["x"], "trials")
    kept, dropped = resolve(trials, ["a"], ["x"], "trials", allow_missing=True)
    assert dropped == 2 and kept.target.tolist() == [True]
    with pytest.raises(InputError, match="no trial can be scored"):
        resolve(trials, ["z"], ["x"], "trials", allow_missing=True)


def test_take_keeps_the_names():
    trials = make([("a", "x", True), ("b", "x", False)])
    assert pairs(trials.take(np.array([False, True]))) == [("b", "x")]


def test_enrol_map_lists_the_utterances_of_each_model(tmp_path):
    (tmp_path / "m").write_text("m1 u1 u2\nm2 u3\n")
    assert read_enrol_map(tmp_path / "m") == {"m1": ["u1", "u2"], "m2": ["u3"]}
    (tmp_path / "m").write_text("m1\n")
    with pytest.raises(InputError, match="m:1: "):
        read_enrol_map(tmp_path / "m")
