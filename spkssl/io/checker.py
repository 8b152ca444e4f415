"""What every check of a data directory needs: lines with their numbers, and defects said once each."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from spkssl.errors import some

_BOM = b"\xef\xbb\xbf"
_ALWAYS_LF = ("utt2spk", "spk2utt")  # Kaldi refuses CRLF only here, and without saying so


class Line(NamedTuple):
    number: int
    fields: list[bytes]  # split at spaces and tabs only, as awk does


class Table(NamedTuple):
    path: Path
    lines: list[Line]

    @property
    def keys(self) -> dict[bytes, int]:
        """Key -> number of its line."""
        return {line.fields[0]: line.number for line in self.lines if line.fields}


class Checker:
    """Collects the defects of one directory, at most one line for each kind of defect and file."""

    def __init__(self, folder: Path, strict: bool):
        self.folder = folder
        self.strict = strict  # look further than Kaldi does
        self.problems: list[str] = []
        self.remarks: list[str] = []
        self.fix = f"run spkssl validate --fix {folder}"

    def say(self, where: object, what: str, do: str = "") -> None:
        self.problems.append(f"{where}: {what}; {do}" if do else f"{where}: {what}")

    def table(self, name: str, required: bool = False, remedy: str = "") -> Table | None:
        """The lines of a file, checked for order and shape; None if there is no such file."""
        path = self.folder / name
        if not path.exists():
            if required:
                self.say(path, "no such file", remedy or "write it")
            return None
        content = path.read_bytes()
        if not content:
            self.say(path, "is empty", remedy or "write it again")
            return Table(path, [])
        if not content.endswith(b"\n"):
            self.say(path, "the last line does not end in a line feed", self.fix)
        raw = content.removesuffix(b"\n").split(b"\n")
        table = Table(path, [Line(number, fields_of(line)) for number, line in enumerate(raw, 1)])
        self._order(table)
        self._text(path, raw)
        return table

    def each(self, table: Table, wrong: Callable[[list[bytes]], bool], what: str, do: str = "") -> None:
        """Report the lines whose fields are wrong, all in one problem."""
        bad = [line for line in table.lines if line.fields and wrong(line.fields)]
        if bad:
            got = b" ".join(bad[0].fields).decode("utf-8", "replace")
            more = f" ({len(bad)} such lines)" if len(bad) > 1 else ""
            self.say(f"{table.path}:{bad[0].number}", f"{what}, got {got!r}{more}", do or "correct this line")

    def same(self, table: Table | None, expected: dict[bytes, int], source: str, kind: str) -> None:
        """Report the keys that one file has and the other lacks."""
        if table is None:
            return
        keys = table.keys
        missing, extra = [key for key in expected if key not in keys], [key for key in keys if key not in expected]
        if missing:
            where = f"{self.folder / source}:{expected[missing[0]]}"
            self.say(where, f"{kind} {names(missing)} not in {table.path.name}", self.fix)
        if extra:
            self.say(f"{table.path}:{keys[extra[0]]}", f"{kind} {names(extra)} not in {source}", self.fix)

    def _order(self, table: Table) -> None:
        previous = None
        for line in table.lines:
            key = line.fields[0] if line.fields else b""
            where, shown = f"{table.path}:{line.number}", key.decode("utf-8", "replace")
            if not key:
                return self.say(where, "empty line", self.fix)
            if key == previous:
                return self.say(where, f"key {shown} appears twice", self.fix)
            if previous is not None and key < previous:
                return self.say(where, f"key {shown} is not in byte order (LC_ALL=C sort)", self.fix)
            previous = key

    def _text(self, path: Path, raw: list[bytes]) -> None:
        if raw[0].startswith(_BOM):
            return self.say(f"{path}:1", "starts with a UTF-8 byte-order mark", self.fix)
        if self.strict or path.name in _ALWAYS_LF:
            for number, line in enumerate(raw, 1):
                if line.endswith(b"\r"):
                    return self.say(f"{path}:{number}", "has CRLF line ends", self.fix)
        return self._spelling(path, raw) if self.strict else None

    def _spelling(self, path: Path, raw: list[bytes]) -> None:
        for number, line in enumerate(raw, 1):
            if line[:1] in (b" ", b"\t") or b"\t" in line or b"  " in line:
                return self.say(f"{path}:{number}", "expected single spaces and none in front", self.fix)
            try:
                line.decode()
            except UnicodeDecodeError:
                return self.say(f"{path}:{number}", "not valid UTF-8", "convert the file to UTF-8")
        return None


def fields_of(line: bytes) -> list[bytes]:
    return [field for field in line.replace(b"\t", b" ").split(b" ") if field]


def names(keys: Iterable[bytes]) -> str:
    return some([key.decode("utf-8", "replace") for key in keys])
