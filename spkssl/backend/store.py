"""A fitted back-end on disk: one npz of plain arrays and its configuration as JSON, no pickle."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spkssl import config
from spkssl.errors import complain
from spkssl.io.atomic import open_atomic


def save_arrays(path: str | Path, settings: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """`settings` is the back-end's Config; its field `name` says which class reads the file."""
    with open_atomic(path, "wb") as file:
        np.savez(file, config=np.array(json.dumps(config.to_dict(settings))), **arrays)


def load_arrays(path: str | Path, cls: type) -> tuple[Any, dict[str, NDArray[Any]]]:
    """The Config (an instance of `cls`) and the arrays."""
    tree, arrays = _read(path)
    return config.build(cls, tree, path), arrays


def stored_name(path: str | Path) -> str:
    """The name of the back-end the file holds."""
    return str(_read(path)[0].get("name"))


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {key: found[key] for key in found.files}
        return json.loads(str(arrays.pop("config"))), arrays
    except FileNotFoundError:
        raise complain(path, "no such back-end file") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise complain(path, "is not a back-end written by spkssl score") from None
