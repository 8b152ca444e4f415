"""Kaldi's own model files, binary and text: PLDA (ivector-compute-plda), LDA (ivector-compute-lda), mean vectors."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spkssl.backend.lda import Affine
from spkssl.backend.plda_model import PldaModel
from spkssl.errors import complain
from spkssl.io.atomic import open_atomic

Array = NDArray[np.float64]

_BINARY = b"\0B"
_TYPES = {b"FV": ("<f4", 1), b"DV": ("<f8", 1), b"FM": ("<f4", 2), b"DM": ("<f8", 2)}


def read_plda(path: str | Path) -> PldaModel:
    """Mean, transform and psi; the offset is recomputed, as Kaldi does."""
    source = _Source(path)
    source.token(b"<Plda>")
    mean, transform, psi = source.array(1), source.array(2), source.array(1)
    source.token(b"</Plda>")
    source.end()
    if transform.shape != (len(mean), len(mean)) or psi.shape != mean.shape:
        raise complain(path, f"sizes do not fit: mean {mean.shape}, transform {transform.shape}, psi {psi.shape}")
    return PldaModel(mean, transform, psi)


def write_plda(path: str | Path, model: PldaModel, *, binary: bool = True) -> None:
    parts = [_array(part, binary) for part in (model.mean, model.transform, model.psi)]
    _write(path, b"".join([b"<Plda> ", *parts, b"</Plda> "]), binary)


def read_lda(path: str | Path) -> Affine:
    """The matrix of ivector-compute-lda: (d, D + 1), the offset in its last column."""
    return Affine(read_matrix(path))


def write_lda(path: str | Path, affine: Affine, *, binary: bool = True) -> None:
    write_array(path, affine.matrix, binary=binary)


def read_folder(folder: Path) -> tuple[Array, Affine | None, PldaModel]:
    """mean.vec, transform.mat (where there is one) and plda, the names of Kaldi's recipes."""
    transform = folder / "transform.mat"
    affine = read_lda(transform) if transform.exists() else None
    mean, model = read_vector(folder / "mean.vec"), read_plda(folder / "plda")
    before, after = (len(mean), model.dim) if affine is None else (affine.matrix.shape[1] - 1, affine.matrix.shape[0])
    if (before, after) != (len(mean), model.dim):
        raise complain(folder, f"sizes do not fit: mean {len(mean)}, transform {before} to {after}, plda {model.dim}")
    return mean, affine, model


def write_folder(folder: Path, mean: Array, affine: Affine | None, model: PldaModel) -> None:
    write_array(folder / "mean.vec", mean)
    if affine is not None:
        write_lda(folder / "transform.mat", affine)
    write_plda(folder / "plda", model)


def read_matrix(path: str | Path) -> Array:
    source = _Source(path)
    matrix = source.array(2)
    source.end()
    return matrix


def read_vector(path: str | Path) -> Array:
    source = _Source(path)
    vector = source.array(1)
    source.end()
    return vector


def write_array(path: str | Path, array: NDArray[np.floating], *, binary: bool = True) -> None:
    """A vector or a matrix, in double precision: Kaldi converts when it reads."""
    _write(path, _array(array, binary), binary)


class _Source:
    """One Kaldi object file being read."""

    def __init__(self, path: str | Path) -> None:
        self.path = path
        try:
            self.data = Path(path).read_bytes()
        except OSError as error:
            raise complain(path, f"cannot be read ({error.strerror})") from None
        self.binary = self.data.startswith(_BINARY)
        self.at = len(_BINARY) if self.binary else 0

    def token(self, expected: bytes) -> None:
        found = self._word()
        if found != expected:
            what = f"not a Kaldi file of this kind (got {found[:20]!r}, expected {expected.decode()})"
            raise complain(self.path, what)

    def array(self, dims: int) -> Array:
        """The next vector (dims 1) or matrix (dims 2), as float64, all finite."""
        values = self._binary_array(dims) if self.binary else self._text_array(dims)
        if not np.isfinite(values).all():
            raise complain(self.path, "holds NaN or infinity")
        return values

    def end(self) -> None:
        if self.data[self.at :].strip():
            raise complain(self.path, f"{len(self.data) - self.at} bytes are left after the end of the object")

    def _word(self) -> bytes:
        start = self.at
        while start < len(self.data) and self.data[start : start + 1].isspace():
            start += 1
        stop = start
        while stop < len(self.data) and not self.data[stop : stop + 1].isspace():
            stop += 1
        # In a binary file exactly one space follows a token; what looks like more may be data.
        self.at = min(stop + 1, len(self.data)) if self.binary else stop
        return self.data[start:stop]

    def _binary_array(self, dims: int) -> Array:
        kind = self._word()
        if kind not in _TYPES or _TYPES[kind][1] != dims:
            raise complain(self.path, f"expected a {'vector' if dims == 1 else 'matrix'}, got {kind[:20]!r}")
        shape = tuple(self._int32() for _ in range(dims))
        if min(shape) < 0:
            raise complain(self.path, f"impossible size {shape}")
        dtype = np.dtype(_TYPES[kind][0])
        values = np.frombuffer(self._take(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize), dtype)
        return values.reshape(shape).astype(np.float64)

    def _int32(self) -> int:
        width, value = struct.unpack("<bi", self._take(5))
        if width != 4:
            raise complain(self.path, f"expected a 4-byte integer, got one of {width} bytes")
        return value

    def _take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise complain(self.path, f"is cut short (needs {size} bytes at {self.at}, has {len(self.data) - self.at})")
        self.at += size
        return self.data[self.at - size : self.at]

    def _text_array(self, dims: int) -> Array:
        self.token(b"[")
        stop = self.data.find(b"]", self.at)
        if stop < 0:
            raise complain(self.path, "is cut short (no closing bracket)")
        body, self.at = self.data[self.at : stop], stop + 1
        lines = [line.split() for line in body.split(b"\n") if line.strip()]
        if dims == 1:
            lines = [[word for line in lines for word in line]]
        if len({len(line) for line in lines}) > 1:
            raise complain(self.path, "rows of a matrix differ in length")
        try:
            values = np.array([[float(word) for word in line] for line in lines], np.float64)
        except ValueError as error:
            raise complain(self.path, f"holds something that is not a number ({error})") from None
        return values.reshape(-1) if dims == 1 else values.reshape(len(lines), -1)


def _array(array: NDArray[np.floating], binary: bool) -> bytes:
    array = np.asarray(array, np.float64)
    if binary:
        sizes = b"".join(struct.pack("<bi", 4, size) for size in array.shape)
        return (b"DV " if array.ndim == 1 else b"DM ") + sizes + array.astype("<f8").tobytes()
    if array.ndim == 1:
        return f" [ {_numbers(array)} ]\n".encode()
    rows = "\n".join(f"  {_numbers(row)} " for row in array)
    return f" [\n{rows}]\n".encode()


def _numbers(row: NDArray[np.float64]) -> str:
    return " ".join(repr(float(value)) for value in row)  # repr gives every digit back


def _write(path: str | Path, content: bytes, binary: bool) -> None:
    with open_atomic(path, "wb") as file:
        file.write((_BINARY if binary else b"") + content)
