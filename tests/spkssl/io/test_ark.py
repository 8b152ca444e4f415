import json
import multiprocessing
import os
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spkssl.errors import InputError
from spkssl.io import ark

BINARY = ["fm", "dm", "fv", "dv", "cm1", "cm2", "cm3", "cm5"]


@pytest.fixture(autouse=True)
def _in_golden(golden, monkeypatch):
    monkeypatch.chdir(golden)  # the scp files there hold relative paths


@pytest.mark.parametrize("name", [*BINARY, "fm.txt", "fv.txt"])
def test_whole_archive_holds_kaldis_values(name):
    true, got = np.load(f"ark/{name}.npz"), dict(ark.read_ark(f"ark/{name}.ark"))
    assert set(got) == set(true.files)
    for key, array in got.items():
        assert array.shape == true[key].shape and array.dtype == true[key].dtype
        assert np.abs(array - true[key]).max() <= 2e-7 * max(np.abs(true[key]).max(), np.ptp(true[key]), 1)


@pytest.mark.parametrize("name", BINARY)
def test_offsets_of_kaldis_scp_lead_to_the_same_objects(name):
    archive, reader = dict(ark.read_ark(f"ark/{name}.ark")), ark.Reader()
    for key, location in ark.read_scp(f"ark/{name}.scp").items():
        np.testing.assert_array_equal(reader.read(location), archive[key])
        assert reader.shape(location) == ark.shape(location) == archive[key].shape


def test_gzip_archive_equals_the_plain_one():
    plain, packed = dict(ark.read_ark("ark/fm.ark")), dict(ark.read_ark("ark/fm.ark.gz"))
    assert len(packed) == 9  # as Kaldi wrote it: without the largest matrix
    for key, array in packed.items():
        np.testing.assert_array_equal(array, plain[key])


@pytest.mark.parametrize("name", ["int32.ark", "int32.txt"])
def test_integers_are_read_from_binary_and_text(name):
    got = dict(ark.read_ark(f"ark/{name}"))
    assert got["m300x80"].tolist() == [300] and got["m7x5"].tolist() == [7] and len(got) == 10


@pytest.mark.parametrize("name", ["fm", "dm", "cm1", "cm2", "cm3", "cm5"])
def test_crop_equals_the_slice_of_the_whole(name):
    reader, rng = ark.Reader(), np.random.default_rng(1)
    for location in ark.read_scp(f"ark/{name}.scp").values():
        whole = reader.read(location).astype(np.float32)
        for _ in range(6):
            start = int(rng.integers(0, len(whole)))
            count = int(rng.integers(0, len(whole) - start + 1))
            got = reader.rows(location, start, count)
            assert got.dtype == np.float32 and got.flags.writeable
            np.testing.assert_array_equal(got, whole[start : start + count])


def test_long_compressed_matrix_is_read_column_by_column_to_the_same_values(monkeypatch):
    location = ark.read_scp("ark/cm1.scp")["m300x80"]
    at_once = ark.read(location)[17:57]
    monkeypatch.setattr("spkssl.io.objects._ONE_READ", 100)
    np.testing.assert_array_equal(ark.rows(location, 17, 40), at_once)


def test_crop_of_a_ranged_location_counts_from_its_first_row():
    whole = np.load("ark/fm.npz")["m100x40"]
    np.testing.assert_array_equal(ark.rows("ark/fm.ark:1667[50:99,3:7]", 10, 5), whole[60:65, 3:8])
    with pytest.raises(InputError, match="no rows 48 to 51"):
        ark.rows("ark/fm.ark:1667[50:99]", 48, 3)


@pytest.mark.parametrize(("start", "count"), [(-1, 2), (0, 101), (100, 1), (3, -1)])
def test_crop_outside_the_matrix_is_an_input_error(start, count):
    with pytest.raises(InputError, match="no rows"):
        ark.rows("ark/fm.ark:1667", start, count)


def test_crop_does_not_touch_the_rest_of_the_matrix(tmp_path, monkeypatch):
    ark.write_ark(tmp_path / "a.ark", tmp_path / "a.scp", {"u": np.arange(40, dtype=np.float32).reshape(20, 2)})
    location = ark.read_scp(tmp_path / "a.scp")["u"]
    asked, preadv = [], os.preadv

    def spy(descriptor, buffers, offset):
        asked.append((offset, sum(map(len, buffers))))
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", spy)
    ark.rows(location, 5, 3)
    assert asked == [(2 + 15 + 5 * 8, 3 * 8)]


def test_ranges_have_kaldis_verdicts():
    verdicts = json.loads(open("ark/range_verdicts.json").read())["outcomes"]
    matrix, vector = ark.read_scp("ark/fm.scp")["m100x40"], ark.read_scp("ark/fv.scp")["v64"]
    for text, said in verdicts.items():
        location = f"{vector if text.startswith('vector') else matrix}[{text.removeprefix('vector ')}]"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if said["rc"] != 0:
                with pytest.raises(InputError):
                    ark.read(location)
                continue
            shape = list(ark.read(location).shape)
        assert shape == (said["shape"][0] if text.startswith("vector") else said["shape"])
        assert bool(caught) == bool(said["messages"])


def test_ranges_of_kaldis_scp_hold_its_values():
    true = np.load("ark/range.npz")
    lines = dict(line.split(" ", 1) for line in open("ark/range.scp").read().splitlines())
    seen = 0
    for key, location in lines.items():
        if "obj/" not in location and "|" not in location:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                got = ark.read(location)
            np.testing.assert_allclose(got, true[key], rtol=0, atol=2e-7 * np.ptp(true[key]))
            seen += 1
    assert seen == 13


def test_last_row_may_be_exceeded_by_three(tmp_path):
    ark.write_ark(tmp_path / "a.ark", tmp_path / "a.scp", {"u": np.zeros((102, 2), np.float32)})
    location = ark.read_scp(tmp_path / "a.scp")["u"]
    assert ark.shape(f"{location}[0:99]") == (100, 2)
    assert ark.shape(f"{location}[2:2]") == (1, 2)
    with pytest.warns(UserWarning, match="beyond the last index 101"):
        assert ark.shape(f"{location}[0:104]") == (102, 2)
    with pytest.raises(InputError, match="does not fit"):
        ark.shape(f"{location}[0:105]")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("badheader.ark", "utt1.*unknown object type 'XX'"),
        ("empty.ark", "empty"),
        ("garbage.ark", "utt1.*no Kaldi object"),
        ("truncated.ark", "m100x40.*truncated"),
        ("bad_offset.scp", "bad_bad_offset.scp: k: ark/fm.ark:7.*no Kaldi object"),
        ("dup_key.scp", "scp:2: key k appears twice"),
        ("missing_file.scp", "k: nowhere.ark: no such archive"),
        ("only_key.scp", "scp:1: .*only 'k'"),
    ],
)
def test_damaged_file_is_one_line_that_names_file_and_key(name, message):
    path = f"ark/bad_{name}"
    with pytest.raises(InputError, match=message) as caught:
        list(ark.read_ark(path)) if name.endswith("ark") else ark.read_vectors(path)
    assert path in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [1, 4, 6, 9, 14, 18, 22, 27])
@pytest.mark.parametrize("name", ["fm", "cm1", "cm2", "fv"])
def test_archive_cut_anywhere_is_an_input_error(tmp_path, name, cut):
    (tmp_path / "a.ark").write_bytes(open(f"ark/{name}.ark", "rb").read()[:cut])
    whole = sum(1 for _ in _complete(tmp_path / "a.ark"))
    assert whole <= 1


def _complete(path):
    """The objects before the damage; whole objects only."""
    try:
        yield from ark.read_ark(path)
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("location", ["cat a.ark |", "| cat", "a|b.ark:5"])
def test_pipes_are_refused(tmp_path, location):
    (tmp_path / "a.scp").write_text(f"k {location}\n")
    with pytest.raises(InputError, match="pipe"):
        ark.read(location)
    with pytest.raises(InputError, match="pipe"):
        ark.read_scp(tmp_path / "a.scp")
    with pytest.raises(InputError, match="pipe"):
        list(ark.read_ark(location))


def test_pickle_inside_an_archive_is_not_unpickled(tmp_path):
    (tmp_path / "a.ark").write_bytes(b"k PKL" + pickle.dumps([1, 2]))
    with pytest.raises(InputError, match="no Kaldi object"):
        list(ark.read_ark(tmp_path / "a.ark"))


@pytest.mark.parametrize("text", ["[ 0 0.5 ]", "[ 1e-05 2 ]", "[\n  0 0.5\n  1 2 ]"])
def test_text_of_which_the_first_number_has_no_point_is_float(tmp_path, text):
    (tmp_path / "a.ark").write_text(f"k  {text}\n")
    ((key, array),) = ark.read_ark(tmp_path / "a.ark")
    assert array.dtype == np.float32 and array.ravel()[-1] in (0.5, 2)


def test_float_matrix_has_kaldis_bytes(tmp_path):
    ark.write_ark(tmp_path / "a.ark", tmp_path / "a.scp", {"utt1": np.array([[1, 2]], np.float32)})
    expected = bytes.fromhex("7574743120 0042 464d20 0401000000 0402000000 0000803f 00000040")
    assert (tmp_path / "a.ark").read_bytes() == expected
    assert (tmp_path / "a.scp").read_text() == f"utt1 {tmp_path / 'a.ark'}:5\n"


def test_float_vector_has_kaldis_size(tmp_path):
    ark.write_ark(tmp_path / "a.ark", None, {"a": np.zeros(3, np.float32)})
    assert (tmp_path / "a.ark").stat().st_size == 24


def test_two_byte_codes_span_the_range(tmp_path):
    ark.write_ark(tmp_path / "a.ark", None, {"a": np.array([[0, 1], [2, 3]], np.float32)}, "two-byte")
    content = (tmp_path / "a.ark").read_bytes()
    assert content[2:8] == b"\0BCM2 "
    assert np.frombuffer(content[8:16], "<f4").tolist() == [0, 3]
    assert np.frombuffer(content[24:], "<u2").tolist() == [0, 21845, 43690, 65535]


@pytest.mark.parametrize(
    ("compress", "name"), [("kaldi", "cm1"), ("speech", "cm2"), ("two-byte", "cm3"), ("one-byte", "cm5")]
)
def test_compression_is_as_exact_as_kaldis(tmp_path, compress, name):
    plain, true = np.load("ark/fm.npz"), np.load(f"ark/{name}.npz")
    ark.write_ark(tmp_path / "a.ark", tmp_path / "a.scp", {key: plain[key] for key in plain.files}, compress)
    for key, array in ark.read_ark(tmp_path / "a.ark"):
        bound = np.abs(true[key] - plain[key]).max() * 1.02 + 2e-5 * np.ptp(plain[key]) + 1e-6
        assert np.abs(array - plain[key]).max() <= bound, key


@pytest.mark.parametrize(("compress", "low", "high"), [("int16", -32768, 32767), ("uint8", 0, 255), ("zero-one", 0, 1)])
def test_fixed_ranges_clip_instead_of_wrapping(tmp_path, compress, low, high):
    values = np.array([[low - 10.0, low, (low + high) // 2, high, high + 10.0]], np.float32)
    ark.write_ark(tmp_path / "a.ark", None, {"a": values}, compress)
    ((_, got),) = ark.read_ark(tmp_path / "a.ark")
    np.testing.assert_allclose(got[0], values[0].clip(low, high), atol=(high - low) * 1e-4)


finite32 = st.floats(-(2.0**99), 2.0**99, width=32)
arrays = st.one_of(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=2, max_side=6), elements=finite32),
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=2, max_side=6), elements=st.floats(-1e200, 1e200)),
    hnp.arrays(np.int32, hnp.array_shapes(min_dims=1, max_dims=1, max_side=6)),
)
keys = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(
    lambda text: text.split() == [text] and text.encode().split() == [text.encode()]
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(keys, arrays, min_size=1, max_size=4))
def test_what_is_written_comes_back(tmp_path_factory, items):
    folder = tmp_path_factory.mktemp("a")
    assert ark.write_ark(folder / "a.ark", folder / "a.scp", items) == len(items)
    sequential = dict(ark.read_ark(folder / "a.ark"))
    assert list(sequential) == list(items)
    locations = ark.read_scp(folder / "a.scp")
    assert list(locations) == sorted(items)
    for key, array in items.items():
        for got in (sequential[key], ark.read(locations[key])):
            assert got.dtype == array.dtype
            np.testing.assert_array_equal(got, array)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.floats(-1e4, 1e4, width=32)),
    st.sampled_from(["kaldi", "speech", "two-byte", "one-byte"]),
    st.data(),
)
def test_compressed_crop_equals_the_slice(tmp_path_factory, array, compress, data):
    folder = tmp_path_factory.mktemp("a")
    ark.write_ark(folder / "a.ark", folder / "a.scp", {"k": array}, compress)
    location = ark.read_scp(folder / "a.scp")["k"]
    start = data.draw(st.integers(0, len(array)))
    count = data.draw(st.integers(0, len(array) - start))
    whole = ark.read(location)
    np.testing.assert_array_equal(ark.rows(location, start, count), whole[start : start + count])
    bits = 65535 if compress == "two-byte" else 255 / 4  # an 8-bit column scale has a few coarse pieces
    assert np.abs(whole - array).max() <= max(np.ptp(array), 1e-3) / bits + 1e-3 * (1 + np.abs(array).max()) / 10


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, bad):
    (tmp_path / "a.scp").write_text("old\n")
    with pytest.raises(InputError, match="u2: values are not all finite"):
        ark.write_ark(tmp_path / "a.ark", tmp_path / "a.scp", {"u1": np.zeros(2), "u2": np.array([bad])})
    assert [path.name for path in tmp_path.iterdir()] == ["a.scp"]


@pytest.mark.parametrize(
    ("items", "compress"),
    [
        ([("a", np.zeros(2)), ("a", np.zeros(2))], "none"),
        ([("a b", np.zeros(2))], "none"),
        ([("a", np.zeros(2, np.int64))], "none"),
        ([("a", np.zeros((2, 2), np.int32))], "none"),
        ([("a", np.zeros((1, 2, 3)))], "none"),
        ([("a", np.zeros(2))], "zip"),
    ],
)
def test_what_kaldi_could_not_read_is_not_written(tmp_path, items, compress):
    with pytest.raises(InputError):
        ark.write_ark(tmp_path / "a.ark", tmp_path / "a.scp", items, compress)
    assert list(tmp_path.iterdir()) == []


def test_vectors_come_in_the_order_of_the_scp(tmp_path):
    items = {"b": np.array([1.0, 2.0]), "a": np.array([3.0, 4.0])}
    ark.write_ark(tmp_path / "a.ark", tmp_path / "a.scp", items)
    names, vectors = ark.read_vectors(tmp_path / "a.scp")
    assert names == ["a", "b"] and vectors.dtype == np.float32 and vectors.tolist() == [[3, 4], [1, 2]]


def test_vectors_of_different_length_are_an_input_error(tmp_path):
    ark.write_ark(tmp_path / "a.ark", tmp_path / "a.scp", {"a": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(InputError, match=r"b has shape \(3,\)"):
        ark.read_vectors(tmp_path / "a.scp")


def _first_row(reader, location):
    return reader.rows(location, 3, 1).tolist()


def test_reader_survives_fork_and_pickling(tmp_path):
    reader, location = ark.Reader(max_open=1), ark.read_scp("ark/fm.scp")["m100x40"]
    expected = np.load("ark/fm.npz")["m100x40"][3:4].tolist()
    assert _first_row(reader, location) == expected
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.starmap(_first_row, [(reader, location)] * 4) == [expected] * 4
    assert _first_row(pickle.loads(pickle.dumps(reader)), location) == expected


def test_reader_closes_archives_beyond_its_limit(tmp_path):
    locations = []
    for name in range(20):
        ark.write_ark(tmp_path / f"{name}.ark", tmp_path / "a.scp", {"u": np.full((2, 2), name, np.float32)})
        locations += ark.read_scp(tmp_path / "a.scp").values()
    reader = ark.Reader(max_open=2)
    before = len(os.listdir("/proc/self/fd"))
    assert [reader.rows(location, 0, 1)[0, 0] for location in locations] == list(range(20))
    assert len(os.listdir("/proc/self/fd")) - before == 2
