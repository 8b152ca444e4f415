"""Big tables with a fixed number of columns, read in blocks: trials and scores have ten million lines."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spkssl.errors import InputError, complain

_BLOCK = 1 << 18  # bytes per block: the field objects of one block stay in the cache of a core


class Block(NamedTuple):
    line: int  # number of the block's first line, from 1
    columns: list[list[bytes]]  # one list per column, all of one length


class Names(dict):
    """Gives every new key the next number: `names[key]`."""

    def __missing__(self, key: bytes) -> int:
        number = self[key] = len(self)
        return number

    def decoded(self, where: object) -> list[str]:
        try:
            return [key.decode() for key in self]
        except UnicodeDecodeError as error:
            raise complain(where, f"identifier {error.object!r} is not valid UTF-8", "convert it to UTF-8") from None


def first_line(path: str | Path) -> list[bytes]:
    """The fields of the first line, which tell the layout. A missing or empty file is an InputError."""
    try:
        with open(path, "rb") as file:
            fields = file.readline().split()
    except OSError as error:
        raise _unreadable(path, error) from None
    if not fields:
        raise complain(f"{path}:1", "the file is empty or starts with an empty line")
    return fields


def read_blocks(path: str | Path, width: int, expected: str) -> Iterator[Block]:
    """The columns block by block; a line without exactly `width` fields is an InputError that quotes `expected`."""
    line, rest = 1, b""
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                block = rest + block
                stop = block.rfind(b"\n") + 1
                block, rest = block[:stop], block[stop:]
                if block:
                    yield Block(line, _split(path, line, block, width, expected))
                    line += block.count(b"\n")
    except OSError as error:
        raise _unreadable(path, error) from None
    if rest:
        yield Block(line, _split(path, line, rest + b"\n", width, expected))


def malformed(path: str | Path, line: int, fields: list[bytes], expected: str) -> InputError:
    got = b" ".join(fields).decode("utf-8", "replace") or "an empty line"
    return complain(f"{path}:{line}", f"got {got!r}, expected `{expected}`")


def _split(path: str | Path, line: int, block: bytes, width: int, expected: str) -> list[list[bytes]]:
    if not _is_regular(block, width):
        for number, text in enumerate(block.split(b"\n")[:-1], line):
            fields = text.split()
            if len(fields) != width:
                raise malformed(path, number, fields, expected)
    fields = block.split()
    return [fields[column::width] for column in range(width)]


def _is_regular(block: bytes, width: int) -> bool:
    """Whether every line is `width` fields with one separator after each, seen without looking line by line."""
    code = np.frombuffer(block, np.uint8)
    space = np.flatnonzero(code <= ord(" "))
    if len(space) % width or space[0] == 0 or (np.diff(space) == 1).any():
        return False
    feeds = (code[space] == ord("\n")).reshape(-1, width)  # only the last separator of a line is a line feed
    return bool(feeds[:, -1].all() and not feeds[:, :-1].any())


def _unreadable(path: str | Path, error: OSError) -> InputError:
    return complain(path, "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})")
