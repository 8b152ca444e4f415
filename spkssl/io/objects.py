"""Kaldi objects inside an open archive: their headers, their rows.

The positions are computed here rather than by kaldiio because kaldiio decodes whole objects only, takes the type of a
text object from its first number (so that `[ 0 0.5 ]` fails), and would unpickle what claims to be a pickle.
"""

import gzip
import os
import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spkssl.errors import complain

_PEEK = 64  # bytes that hold any binary header and the start of a text object
_FLOATS = {"FM": np.dtype("<f4"), "FV": np.dtype("<f4"), "DM": np.dtype("<f8"), "DV": np.dtype("<f8")}
_CODES = {"CM": np.dtype("u1"), "CM2": np.dtype("<u2"), "CM3": np.dtype("u1")}
_TEXT_STARTS = {bytes([byte]) for byte in b"[+-0123456789"}
_ONE_READ = 1 << 20  # a column-major matrix below this size is read in one go, above it column by column
_UINT16 = np.float32(1 / 65535)
_UINT8 = np.float32(1 / 255)


class Source:
    """An open file read by offset. Nothing depends on a file position, so it may be shared after a fork."""

    def __init__(self, path: str):
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise complain(path, "no such archive") from None
        except OSError as error:
            raise complain(path, f"cannot be opened ({error.strerror})") from None
        self.size = os.fstat(self._fd).st_size

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def peek(self, offset: int, size: int) -> bytes:
        """At most `size` bytes, fewer at the end of the file."""
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:
            raise complain(self.path, f"cannot be read ({error.strerror})") from None

    def fill(self, offset: int, out: NDArray) -> NDArray:
        """Fill a contiguous array with the bytes at `offset`."""
        done, view = 0, memoryview(out).cast("B") if out.size else b""
        while done < out.nbytes:
            got = os.preadv(self._fd, [view[done:]], offset + done)
            if got == 0:
                raise self.truncated(offset, out.nbytes, done)
            done += got
        return out

    def truncated(self, offset: int, expected: int, got: int) -> Exception:
        what = f"truncated (expected {expected} bytes, got {max(got, 0)})"
        return complain(f"{self.path}:{offset}", what, "write the archive again")


class GzipSource(Source):
    """A gzip file: offsets count decompressed bytes. Made for one pass; going back decompresses from the start."""

    def __init__(self, path: str):
        super().__init__(path)
        self._file = gzip.open(path)
        self.size = 1 << 62  # known only at the end

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
        super().__del__()

    def peek(self, offset: int, size: int) -> bytes:
        try:
            self._file.seek(offset)
            return self._file.read(size)
        except (OSError, EOFError) as error:
            raise complain(self.path, f"cannot be decompressed ({error})") from None

    def fill(self, offset: int, out: NDArray) -> NDArray:
        content = self.peek(offset, out.nbytes)
        if len(content) < out.nbytes:
            raise self.truncated(offset, out.nbytes, len(content))
        if out.size:
            memoryview(out).cast("B")[:] = content
        return out


class Header(NamedTuple):
    kind: str  # FM DM FV DV CM CM2 CM3, int32, text
    shape: tuple[int, ...]
    data: int  # offset of the first byte after the header
    end: int  # offset of the first byte after the object
    low: float = 0.0  # of a compressed matrix: the smallest value and the range
    width: float = 0.0


def header(source: Source, offset: int) -> Header:
    """What lies at an offset. Fails if it is no Kaldi object or reaches beyond the file."""
    head = source.peek(offset, _PEEK)
    if head[:2] != b"\0B":
        return _text_header(source, offset, head)
    if head[2:3] == b"\4":
        found = _int_header(source, offset, head)
    else:
        found = _binary_header(source, offset, head)
    if min(found.shape) < 0:
        raise complain(f"{source.path}:{offset}", f"damaged header (a {found.kind} of shape {found.shape})")
    if found.end > source.size:
        raise source.truncated(offset, found.end - offset, source.size - offset)
    return found


def load(source: Source, at: Header, start: int = 0, count: int | None = None) -> NDArray:
    """Rows (or elements) `start:start+count` of an object, without reading the others (text is read whole)."""
    count = at.shape[0] - start if count is None else count
    if at.kind == "text":
        return _read_text(source, at)[start : start + count]
    if at.kind == "int32":
        return _read_ints(source, at)[start : start + count]
    if at.kind == "CM":
        return _read_columns(source, at, start, count)
    dtype = _FLOATS.get(at.kind) or _CODES[at.kind]
    shape = (count, *at.shape[1:])
    row_bytes = dtype.itemsize * (at.shape[1] if len(at.shape) == 2 else 1)
    found = source.fill(at.data + start * row_bytes, np.empty(shape, dtype))
    if at.kind in _FLOATS:
        return found
    # value = min + range * code / (2^bits - 1)
    step = np.float32(at.width) * (_UINT16 if at.kind == "CM2" else _UINT8)
    values = found.astype(np.float32)
    values *= step
    values += np.float32(at.low)
    return values


def _binary_header(source: Source, offset: int, head: bytes) -> Header:
    kind = head[2:7].split(b" ")[0].decode("ascii", "replace")
    at = 2 + len(kind) + 1
    try:
        if kind in _CODES:
            low, width, rows, cols = struct.unpack_from("<ffii", head, at)
            data = offset + at + 16
            per_column = 8 * cols if kind == "CM" else 0  # four uint16 quantiles for each column
            return Header(kind, (rows, cols), data, data + per_column + rows * cols * _CODES[kind].itemsize, low, width)
        if kind not in _FLOATS:
            what = f"unknown object type {kind!r} (expected one of {', '.join([*_FLOATS, *_CODES])})"
            raise complain(f"{source.path}:{offset}", what)
        shape = []
        for _ in range(2 if kind[1] == "M" else 1):
            marker, size = struct.unpack_from("<bi", head, at)
            if marker != 4:
                raise complain(f"{source.path}:{offset}", f"damaged header (size marker {marker}, expected 4)")
            shape.append(size)
            at += 5
    except struct.error:
        raise source.truncated(offset, at + 10, len(head)) from None
    end = offset + at + shape[0] * (shape[1] if len(shape) == 2 else 1) * _FLOATS[kind].itemsize
    return Header(kind, tuple(shape), offset + at, end)


def _read_columns(source: Source, at: Header, start: int, count: int) -> NDArray:
    """Rows of a CM: one byte per element, column-major, read on each column's own piecewise linear scale."""
    rows, cols = at.shape
    if not count or not cols:
        return np.empty((count, cols), np.float32)
    quantiles = source.fill(at.data, np.empty((cols, 4), "<u2")).astype(np.float32)
    quantiles *= np.float32(at.width) * _UINT16
    quantiles += np.float32(at.low)
    first = at.data + 8 * cols + start
    if (cols - 1) * rows + count <= _ONE_READ:
        block = source.fill(first, np.empty((cols - 1) * rows + count, np.uint8))
        codes = np.lib.stride_tricks.as_strided(block, (cols, count), (rows, 1))
    else:
        codes = np.empty((cols, count), np.uint8)
        for column in range(cols):
            source.fill(first + column * rows, codes[column])
    scale = _column_scales(quantiles)
    index = codes.T + np.arange(0, 256 * cols, 256)  # (count, cols) into the flattened scales
    return scale.ravel().take(index)


def _column_scales(quantiles: NDArray) -> NDArray:
    """The value of each of the 256 codes in each column: (cols, 256), from its 0th, 25th, 75th, 100th percentile."""
    p0, p25, p75, p100 = (quantiles[:, i : i + 1] for i in range(4))
    code = np.arange(256, dtype=np.float32)
    scale = np.empty((len(quantiles), 256), np.float32)
    scale[:, :65] = p0 + (p25 - p0) * (code[:65] * np.float32(1 / 64))
    scale[:, 65:193] = p25 + (p75 - p25) * ((code[65:193] - 64) * np.float32(1 / 128))
    scale[:, 193:] = p75 + (p100 - p75) * ((code[193:] - 192) * np.float32(1 / 63))
    return scale


def _int_header(source: Source, offset: int, head: bytes) -> Header:
    """A vector of int32 is its size and its elements, each after a byte 4; a lone int32 looks like a size alone."""
    if len(head) < 7:
        raise source.truncated(offset, 7, len(head))
    value = struct.unpack_from("<i", head, 3)[0]
    if head[7:8] == b"\4":  # no key begins with this byte, so elements follow
        return Header("int32", (value,), offset + 7, offset + 7 + 5 * value)
    return Header("int32", (1,), offset + 2, offset + 7)


def _read_ints(source: Source, at: Header) -> NDArray:
    found = source.fill(at.data, np.empty(at.shape, np.dtype([("marker", "i1"), ("value", "<i4")])))
    if (found["marker"] != 4).any():
        raise complain(f"{source.path}:{at.data}", "damaged vector of integers (an element lacks its size marker)")
    return found["value"].copy()


def _text_header(source: Source, offset: int, head: bytes) -> Header:
    first = head.lstrip(b" \t\n")[:1]
    if first not in _TEXT_STARTS:  # before a closing bracket is sought through gigabytes of something else
        raise complain(f"{source.path}:{offset}", "is no Kaldi object (neither a binary header nor numbers)")
    start = offset + len(head) - len(head.lstrip(b" \t\n"))
    content = _until(source, start, b"]" if first == b"[" else b"\n")
    values = _parse_text(f"{source.path}:{offset}", content)
    return Header("text", values.shape, start, start + len(content))


def _read_text(source: Source, at: Header) -> NDArray:
    return _parse_text(f"{source.path}:{at.data}", source.peek(at.data, at.end - at.data))


def _until(source: Source, offset: int, closing: bytes) -> bytes:
    """The bytes from an offset to the first `closing` byte, that byte included, or to the end of the file."""
    content, size = b"", 1 << 12
    while True:
        found = source.peek(offset + len(content), size)
        stop = found.find(closing)
        content += found if stop < 0 else found[: stop + 1]
        if stop >= 0 or not found:
            return content
        size *= 2


def _parse_text(where: str, content: bytes) -> NDArray:
    """`[ 1 2 ]` is a vector, lines between brackets a matrix (float32), bare integers a vector of int32."""
    bare = not content.startswith(b"[")
    if not bare and not content.endswith(b"]"):
        raise complain(where, "damaged text object (a bracket is not closed)")
    lines = [line.split() for line in content.strip(b"[]").split(b"\n")]
    is_matrix = not bare and len(lines) > 1
    rows = [line for line in lines if line]
    try:
        values = [[int(word) if bare else float(word) for word in row] for row in rows]
    except ValueError:
        raise complain(where, "is no Kaldi object (neither a binary header nor numbers)") from None
    if bare and len(values) != 1 or not is_matrix and len(values) > 1 or len({len(row) for row in values}) > 1:
        raise complain(where, "is no Kaldi object (no numbers, or rows of different length)")
    if bare:
        return np.array(values[0], np.int32)
    return np.array(values if is_matrix else sum(values, []), np.float32)
