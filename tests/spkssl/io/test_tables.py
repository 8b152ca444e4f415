import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spkssl.errors import InputError
from spkssl.io.tables import read_lists, read_table, write_lists, write_table

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: len(text.encode().split()) == 1 and text.encode().split()[0] == text.encode() and "\x00" not in text
)


@settings(max_examples=60, deadline=None)
@example({"0": ["\x1f"]})  # white space to Python's text, not to its bytes, to awk or to Kaldi
@given(st.dictionaries(words, st.lists(words, min_size=1, max_size=4), min_size=1))
def test_lists_come_back_as_written(tmp_path_factory, lists):
    path = tmp_path_factory.mktemp("t") / "spk2utt"
    write_lists(path, lists)
    assert read_lists(path) == lists
    keys = [line.split(b" ")[0] for line in path.read_bytes().split(b"\n")[:-1]]
    assert keys == sorted(keys)


def test_value_may_hold_spaces_and_any_white_space_separates(tmp_path):
    (tmp_path / "t").write_text("a\tx  y \n b z\r\n")
    assert read_table(tmp_path / "t") == {"a": "x  y", "b": "z"}


def test_non_ascii_space_is_part_of_a_word(tmp_path):
    (tmp_path / "t").write_text("a\u00a0b c\u3000d\n", encoding="utf-8")
    assert read_table(tmp_path / "t") == {"a\u00a0b": "c\u3000d"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a 1\na 2\n", "t:2: key a appears twice"),
        (b"a 1\n\nb 2\n", "t:2: .*empty line"),
        (b"a 1\nb\n", "t:2: .*only 'b'"),
        (b"\xef\xbb\xbfa 1\n", "t:1: .*byte-order mark"),
        (b"a \xff\n", "t:1: not valid UTF-8"),
    ],
)
def test_malformed_line_is_named(tmp_path, content, message):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "t")


def test_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "t")


@pytest.mark.parametrize("table", [{"a b": 1}, {"": 1}, {"a": ""}, {"a": "x\ny"}, {"a": "x\ry"}])
def test_what_could_not_be_read_back_is_not_written(tmp_path, table):
    with pytest.raises(InputError):
        write_table(tmp_path / "t", table)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lists", [{"a": []}, {"a": ["x y"]}, {"a": [""]}])
def test_lists_that_could_not_be_read_back_are_not_written(tmp_path, lists):
    with pytest.raises(InputError):
        write_lists(tmp_path / "t", lists)


def test_order_is_that_of_bytes(tmp_path):
    keys = ["id10-a", "id1-a", "id1_a", "id1/a", "é", "Z", "\U0001f600", "\uffee"]
    write_table(tmp_path / "t", dict.fromkeys(keys, 1))
    keys = [line.split()[0] for line in (tmp_path / "t").read_bytes().splitlines()]
    assert keys == sorted(keys) and keys[:4] == [b"Z", b"id1-a", b"id1/a", b"id10-a"]
