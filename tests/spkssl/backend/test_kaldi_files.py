import struct

import numpy as np
import pytest

from spkssl.backend.kaldi_files import (
    read_lda,
    read_matrix,
    read_plda,
    read_vector,
    write_array,
    write_lda,
    write_plda,
)  # fmt: skip
from spkssl.backend.lda import Affine
from spkssl.backend.plda_model import PldaModel
from spkssl.errors import InputError


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    return PldaModel(rng.normal(size=3), rng.normal(size=(3, 3)), rng.random(3))


def kaldi_bytes(model, kind="D"):
    """What Kaldi's Plda::Write puts into a binary file, spelled out by hand."""
    size, dtype = struct.pack("<bi", 4, 3), "<f8" if kind == "D" else "<f4"
    vectors = [f"{kind}V ".encode() + size + v.astype(dtype).tobytes() for v in (model.mean, model.psi)]
    matrix = f"{kind}M ".encode() + size + size + model.transform.astype(dtype).tobytes()
    return b"\0B<Plda> " + vectors[0] + matrix + vectors[1] + b"</Plda> "


def assert_same(ours, theirs, **tolerance):
    for name in ("mean", "transform", "psi"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), **tolerance)


@pytest.mark.parametrize("binary", [True, False])
def test_plda_round_trips_to_the_last_bit(tmp_path, model, binary):
    write_plda(tmp_path / "plda", model, binary=binary)
    assert_same(read_plda(tmp_path / "plda"), model, rtol=0)


def test_binary_plda_is_byte_for_byte_what_kaldi_writes(tmp_path, model):
    write_plda(tmp_path / "plda", model)
    assert (tmp_path / "plda").read_bytes() == kaldi_bytes(model)


def test_plda_in_kaldis_single_precision_is_read(tmp_path, model):
    (tmp_path / "plda").write_bytes(kaldi_bytes(model, "F"))
    assert_same(read_plda(tmp_path / "plda"), model, rtol=1e-6)


def test_plda_in_kaldis_text_is_read(tmp_path):
    (tmp_path / "plda").write_text("<Plda>  [ 1 2 ]\n [\n  1 0 \n  0.5 2 ]\n [ 3 1e-05 ]\n</Plda> ")
    found = read_plda(tmp_path / "plda")
    assert_same(found, PldaModel(np.array([1.0, 2]), np.array([[1, 0], [0.5, 2]]), np.array([3, 1e-5])))
    np.testing.assert_allclose(found.offset, [-1, -4.5])


def test_golden_models_travel_both_ways(tmp_path, golden):
    found = np.load(golden / "backend" / "plda.npz")
    theirs = PldaModel(found["mean"], found["transform"], found["psi"])
    for binary in (True, False):
        write_plda(tmp_path / "plda", theirs, binary=binary)
        assert_same(read_plda(tmp_path / "plda"), theirs, rtol=0)
    lda = np.load(golden / "backend" / "models.npz")["lda"]
    for binary in (True, False):
        write_lda(tmp_path / "lda", Affine(lda), binary=binary)
        np.testing.assert_array_equal(read_lda(tmp_path / "lda").matrix, lda)


@pytest.mark.parametrize("binary", [True, False])
def test_vectors_and_matrices_round_trip(tmp_path, binary):
    rng = np.random.default_rng(1)
    for array, read in ((rng.normal(size=7), read_vector), (rng.normal(size=(2, 5)), read_matrix)):
        write_array(tmp_path / "file", array, binary=binary)
        np.testing.assert_array_equal(read(tmp_path / "file"), array)


def test_archives_of_the_project_read_what_is_written_here(tmp_path):
    from spkssl.io.ark import read

    write_array(tmp_path / "mat", np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(read(str(tmp_path / "mat")), np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("cut", [0, 1, 5, 9, 15, 40, 100, 150])
def test_plda_cut_short_is_an_error_that_names_the_file(tmp_path, model, cut):
    path = tmp_path / "plda"
    path.write_bytes(kaldi_bytes(model)[:cut])
    with pytest.raises(InputError, match=str(path)):
        read_plda(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<Plda> [ 1 2 ] [\n 1 0\n 0 1 ] [ 1 ] </Plda>", "sizes do not fit"),
        (b"<Plda> [ 1 ] [\n 1 ] [ nan ] </Plda>", "NaN"),
        (b"<Plda> [ 1 ] [\n 1 ] [ x ] </Plda>", "not a number"),
        (b"<Plda> [ 1 2 ] [\n 1 0\n 0 ] [ 1 1 ] </Plda>", "differ in length"),
        (b"<Plda> [ 1 ] [\n 1 ] [ 1 ] </Plda> [ 2 ]", "left after the end"),
        (b"<Nnet> [ 1 ]", "expected <Plda>"),
        (b"\0B<Plda> XV \x04", "expected a vector"),
        (b"\0B<Plda> DV \x08\x01\0\0\0", "4-byte integer"),
    ],
)
def test_malformed_plda_says_what_is_wrong(tmp_path, content, message):
    (tmp_path / "plda").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_plda(tmp_path / "plda")


def test_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_plda(tmp_path / "nowhere")
