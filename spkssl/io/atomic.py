"""Writing a file so that nobody ever reads half of it: temporary file, fsync, rename."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from spkssl.errors import complain


@contextmanager
def open_atomic(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """A file that appears under `path` only when the block ends without an exception. Makes the folder.

    `mode` is "w" (UTF-8, LF) or "wb". On an exception the old file, if any, stays as it was.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"open_atomic writes whole files: mode is 'w' or 'wb', got {mode!r}")
    path = Path(path)
    # In the same folder, because a rename is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(temporary, mode, **text)
    except OSError as error:
        raise complain(path, f"cannot be written ({error.strerror})", "check the folder and its permissions") from None
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_text(path: str | Path, text: str) -> None:
    with open_atomic(path) as file:
        file.write(text)


def write_json(path: str | Path, obj: Any) -> None:
    """Strict JSON, indented: NaN and infinity are a ValueError, since other readers refuse them."""
    write_text(path, json.dumps(obj, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the file system can do that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems cannot sync a folder; the rename is still atomic
        pass
    finally:
        os.close(descriptor)
