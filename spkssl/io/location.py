"""Where an object lies: `archive[:offset][[r0:r1[,c0:c1]]]`, the second column of an scp file."""

import os
import re
import warnings
from typing import NamedTuple

from spkssl.errors import complain

_LENIENCY = 3  # Kaldi forgives a last row up to this far beyond the matrix: lengths rounded differently
_LOCATION = re.compile(r"(?P<path>.+?)(?::(?P<offset>\d+))?(?:\[(?P<span>[^\[\]]*)\])?")
_SPAN = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*", re.ASCII)


class Location(NamedTuple):
    path: str
    offset: int  # of the object's first byte, after the key
    rows: str | None  # "r0:r1" as written, ":" or None for all
    cols: str | None


def parse(location: str | os.PathLike[str]) -> Location:
    """Split a location into its parts. Pipes are refused: reading a table must not run a command."""
    text = os.fspath(location)
    if "|" in text:
        raise complain(location, "is a pipe, and no command is run to read an archive", "write the archive to a file")
    found = _LOCATION.fullmatch(text)
    if not found:
        raise complain(location, "expected file, file:offset or file:offset[first:last]")
    parts = [None] if found["span"] is None else found["span"].split(",")
    if len(parts) > 2 or "" in parts:
        raise complain(location, "expected a range such as [0:9] or [0:9,3:7], both ends included")
    return Location(found["path"], int(found["offset"] or 0), *parts, *[None] * (2 - len(parts)))


def span(text: str | None, size: int, where: object, lenient: bool) -> tuple[int, int]:
    """The half-open (start, stop) that an inclusive range selects of `size` rows, columns or elements."""
    if text is None or text.strip() == ":":
        return 0, size
    found = _SPAN.fullmatch(text)
    first, last = (int(found[1]), int(found[2])) if found else (1, 0)
    if first > last or first > size or last >= size + (_LENIENCY if lenient else 0):
        raise complain(where, f"range {text.strip()!r} does not fit (expected first:last within 0:{size - 1})")
    if last >= size:
        warnings.warn(f"{where}: range {text} goes beyond the last index {size - 1} and is cut there", stacklevel=3)
    return first, min(last + 1, size)
