"""Kaldi's text tables: one record per line, `key rest`, sorted by key in byte order, keys unique.

Any ASCII white space separates on reading (as in awk and Kaldi), a single space on writing. Python orders strings by
code point, which is the byte order of UTF-8, so `sorted` is `LC_ALL=C sort`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from spkssl.errors import complain, some
from spkssl.io.atomic import open_atomic

_BOM = b"\xef\xbb\xbf"


def read_table(path: str | Path) -> dict[str, str]:
    """Key -> rest of the line, in the order of the file."""
    table: dict[str, str] = {}
    for number, key, rest in _records(path):
        if key in table:
            raise complain(f"{path}:{number}", f"key {key} appears twice", "keep one line per key")
        table[key] = rest
    return table


def write_table(path: str | Path, mapping: Mapping[str, object]) -> None:
    """Sorted by key; values are written with str()."""
    _write(path, ((key, str(mapping[key])) for key in sorted(mapping)))


def read_lists(path: str | Path) -> dict[str, list[str]]:
    """Key -> the words after it (spk2utt, enrolment maps), in the order of the file."""
    return {key: [word.decode() for word in rest.encode().split()] for key, rest in read_table(path).items()}


def write_lists(path: str | Path, mapping: Mapping[str, Sequence[str]]) -> None:
    """Sorted by key; the words keep their order."""
    for key, words in mapping.items():
        bad = [word for word in words if not _is_word(word)]
        if bad or not words:
            what = f"{some(map(repr, bad))} cannot be a word" if bad else "has no words"
            raise complain(path, f"entry {key}: {what}")
    _write(path, ((key, " ".join(mapping[key])) for key in sorted(mapping)))


def read_lines(path: str | Path) -> list[bytes]:
    """The lines of a text file without their line feeds; a file that is missing or not text is an InputError."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise complain(path, "no such file") from None
    except OSError as error:
        raise complain(path, f"cannot be read ({error.strerror})") from None
    if content.startswith(_BOM):
        raise complain(f"{path}:1", "starts with a UTF-8 byte-order mark", "save the file as UTF-8 without one")
    if not content:
        return []
    return content.removesuffix(b"\n").split(b"\n")


def _records(path: str | Path) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split(None, 1)  # of bytes: ASCII white space only
        if len(fields) != 2:
            got = f"only {fields[0].decode('utf-8', 'replace')!r}" if fields else "an empty line"
            raise complain(f"{path}:{number}", f"expected a key and a value, got {got}")
        try:
            key, rest = fields[0].decode(), fields[1].rstrip().decode()
        except UnicodeDecodeError:
            raise complain(f"{path}:{number}", "not valid UTF-8", "convert the file to UTF-8") from None
        yield number, key, rest


def _write(path: str | Path, records: Iterable[tuple[str, str]]) -> None:
    with open_atomic(path) as file:
        for key, rest in records:
            if not _is_word(key):
                raise complain(path, f"{key!r} cannot be a key", "keys are not empty and have no white space")
            if not rest.encode().strip() or "\n" in rest or "\r" in rest:
                raise complain(path, f"the value of {key} cannot be written (got {rest!r}, expected one line)")
            file.write(f"{key} {rest}\n")


def _is_word(text: str) -> bool:
    return len(text.encode().split()) == 1 and text.encode().strip() == text.encode()
