"""Reading a file of weights that may be anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from spkssl.errors import complain


def read_weights(path: str | Path, do: str, mmap: bool = False) -> Any:
    """What torch.save wrote, on the CPU: only tensors and plain values. `do` is the advice when there is no file.

    `mmap`: tensors are read from the disk when they are looked at, for who wants but what lies beside them.
    """
    if not Path(path).is_file():
        raise complain(path or "weights", "no such file", do)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except MemoryError:
        raise
    except Exception as error:  # the unpickler raises whatever a foreign file's bytes lead it to
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise complain(path, f"cannot be read as weights ({reason})", "write or fetch it again") from None
