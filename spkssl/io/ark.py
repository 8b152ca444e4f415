"""Kaldi archives and script files: writing with kaldiio, reading whole objects and crops.

A location is what an scp line says after the key: `archive:offset`, optionally `[first:last]` (both included).
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO

import kaldiio.matio
import numpy as np
from numpy.typing import NDArray

from spkssl.errors import InputError, choose, complain
from spkssl.io.atomic import open_atomic
from spkssl.io.location import Location, parse, span
from spkssl.io.objects import GzipSource, Header, Source, header, load
from spkssl.io.tables import read_table, write_table

# Kaldi's --compression-method. "kaldi" is what make_fbank.sh uses: 8 bits on a scale per column, or 16 for <= 8 rows.
COMPRESSION = {
    "none": None, "kaldi": 1, "speech": 2, "two-byte": 3, "int16": 4, "one-byte": 5, "uint8": 6, "zero-one": 7,
}  # fmt: skip
_FIXED_RANGE = {"int16": (-32768.0, 32767.0), "uint8": (0.0, 255.0), "zero-one": (0.0, 1.0)}


class Reader:
    """Reads objects and crops and keeps the archives it met open. Survives fork and pickling; threads may share it."""

    def __init__(self, max_open: int = 128):
        self._max_open = max_open
        self._source = lru_cache(max_open)(Source)

    def __reduce__(self) -> tuple:
        return Reader, (self._max_open,)

    def shape(self, location: str) -> tuple[int, ...]:
        """(rows, columns) of a matrix, (dim,) of a vector, from the header alone; ranges are honoured."""
        _, at, where = self._find(location)
        return tuple(stop - start for start, stop in _spans(where, at, location))

    def read(self, location: str) -> NDArray:
        """The whole object: float32, float64 or int32 as it was written (compressed and text: float32)."""
        source, at, where = self._find(location)
        (start, stop), *columns = _spans(where, at, location)
        return _columns(load(source, at, start, stop - start), columns)

    def rows(self, location: str, start: int, count: int) -> NDArray:
        """Rows `start:start+count` of a matrix (count, columns), or elements of a vector (count,), as float32."""
        source, at, where = self._find(location)
        (first, stop), *columns = _spans(where, at, location)
        if start < 0 or count < 0 or start + count > stop - first:
            raise complain(location, f"no rows {start} to {start + count} (there are {stop - first})")
        found = _columns(load(source, at, first + start, count), columns)
        return found.astype(np.float32, copy=False)

    def _find(self, location: str) -> tuple[Source, Header, Location]:
        where = parse(location)
        source = self._source(where.path)
        return source, header(source, where.offset), where


def read(location: str) -> NDArray:
    """One whole object, see `Reader.read`. The archive is opened for this call only."""
    return Reader(1).read(location)


def rows(location: str, start: int, count: int) -> NDArray:
    """A crop of one object, see `Reader.rows`. For many crops use one `Reader`, which keeps archives open."""
    return Reader(1).rows(location, start, count)


def shape(location: str) -> tuple[int, ...]:
    """The shape of one object from its header alone, see `Reader.shape`."""
    return Reader(1).shape(location)


def read_scp(path: str | Path) -> dict[str, str]:
    """Key -> location, in the order of the file. Piped commands are refused."""
    table = read_table(path)
    for key, location in table.items():
        if "|" in location:
            raise complain(path, f"{key} is a piped command ({location})", "write its output to an archive")
    return table


def read_vectors(scp: str | Path) -> tuple[list[str], NDArray]:
    """Keys in the order of the file and their vectors, (N, D) float32. All must be finite and of one length."""
    table, reader = read_scp(scp), Reader()
    if not table:
        raise complain(scp, "is empty", "run the stage that writes it again")
    vectors: NDArray | None = None
    for row, (key, location) in enumerate(table.items()):
        try:
            vector = reader.read(location)
        except InputError as error:
            raise InputError(f"{scp}: {key}: {error}") from None
        if vectors is None:
            vectors = np.empty((len(table), vector.size), np.float32)
        if vector.shape != vectors.shape[1:]:
            raise complain(scp, f"{key} has shape {vector.shape} (expected {vectors.shape[1:]}, as the first one)")
        vectors[row] = vector
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise complain(scp, f"{list(table)[finite.argmin()]} is not finite (and {(~finite).sum() - 1} more)")
    return list(table), vectors


def read_ark(path: str | Path) -> Iterator[tuple[str, NDArray]]:
    """Every (key, object) of an archive, binary or text, plain or gzip, in its order."""
    path = os.fspath(path)
    if "|" in path:
        raise complain(path, "is a pipe, and no command is run to read an archive", "write the archive to a file")
    source = Source(path)
    if source.peek(0, 2) == b"\x1f\x8b":
        source = GzipSource(path)
    offset = 0
    while head := source.peek(offset, 1 << 10):
        name = head.lstrip(b" \n\t")
        if offset and not name:
            return
        key = name.split(b" ", 1)[0]
        if not key or len(key) == len(name) or len(key.split()) != 1 or b"\0" in key:
            raise complain(f"{path}:{offset}", "expected a key and an object", "write the archive again")
        offset += len(head) - len(name) + len(key) + 1
        label = key.decode("utf-8", "replace")
        try:
            at = header(source, offset)
            yield label, load(source, at)
        except InputError as error:
            raise InputError(f"{path}: {label}: {error}") from None
        offset = at.end
    if not offset:
        raise complain(path, "the archive is empty", "write it again")


def write_ark(
    ark: str | Path,
    scp: str | Path | None,
    items: Mapping[str, NDArray] | Iterable[tuple[str, NDArray]],
    compress: str = "none",
) -> int:
    """Write an archive and its scp (sorted by key, absolute archive path); returns how many objects there are.

    Objects are finite float32 or float64 matrices and vectors, or int32 vectors; only matrices are compressed.
    The scp appears last, so whoever finds it finds the archive it describes.
    """
    choose(ark, compress, COMPRESSION)
    target = os.path.abspath(ark)
    if "|" in target or target.endswith("]") or target != target.strip() or "\n" in target:
        raise complain(ark, "an scp file could not name this archive", "use a path without | and ]")
    locations: dict[str, str] = {}
    with open_atomic(ark, "wb") as file:
        for key, array in items.items() if isinstance(items, Mapping) else items:
            if not key or key.split() != [key]:
                raise complain(ark, f"{key!r} cannot be a key", "keys are not empty and have no white space")
            if key in locations:
                raise complain(ark, f"key {key} was given twice")
            file.write(f"{key} ".encode())
            locations[key] = f"{target}:{file.tell()}"
            _write(file, ark, key, np.asarray(array), compress)
        if scp is not None:  # an old scp must not outlive the archive it describes
            Path(scp).unlink(missing_ok=True)
    if scp is not None:
        write_table(scp, locations)
    return len(locations)


def _write(file: IO[bytes], ark: str | Path, key: str, array: NDArray, compress: str) -> None:
    if array.dtype not in (np.float32, np.float64, np.int32) or array.ndim not in (1, 2):
        what = f"cannot hold {array.dtype} of shape {array.shape} (expected float matrices and vectors, int32 vectors)"
        raise complain(ark, f"{key}: {what}")
    if array.dtype == np.int32 and array.ndim != 1:
        raise complain(ark, f"{key}: integers can only be a vector (got shape {array.shape})")
    if not np.isfinite(array).all():
        raise complain(ark, f"{key}: values are not all finite")
    method = COMPRESSION[compress] if array.ndim == 2 and array.size else None
    if method is not None:
        array = array.astype(np.float32)
        if compress in _FIXED_RANGE:  # as Kaldi does; kaldiio would let the codes wrap around
            array = array.clip(*_FIXED_RANGE[compress])
    kaldiio.matio.write_array(file, array, compression_method=method)


def _spans(where: Location, at: Header, location: str) -> list[tuple[int, int]]:
    """The (start, stop) along each axis of the object."""
    if where.cols is not None and len(at.shape) == 1:
        raise complain(location, "is a vector (expected one range, got two)")
    texts = (where.rows, where.cols)
    found = [span(text, size, location, axis == 0) for axis, (text, size) in enumerate(zip(texts, at.shape))]
    if len(found) == 2 and where.rows is not None and found[0][0] == found[0][1]:
        raise complain(location, f"range {where.rows!r} selects no row (the matrix has {at.shape[0]})")
    return found


def _columns(array: NDArray, spans: list[tuple[int, int]]) -> NDArray:
    if not spans or spans[0] == (0, array.shape[1]):
        return array
    start, stop = spans[0]
    return np.ascontiguousarray(array[:, start:stop])
