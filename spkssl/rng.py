"""Where all randomness is born: a seed and a few tags name a stream, so there is no state to save.

`numpy(seed, "aug", epoch, utterance)` gives the same draws on any worker, rank and order of work.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

Tag = str | int


def derive(seed: int, *tags: Tag) -> int:
    """A 63-bit number that depends on the seed and on every tag, its type and its place."""
    name = "\x1f".join(f"s{tag}" if isinstance(tag, str) else f"i{int(tag)}" for tag in (seed, *tags))
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1


def numpy(seed: int, *tags: Tag) -> np.random.Generator:
    """The numpy generator of this name."""
    return np.random.Generator(np.random.PCG64(derive(seed, *tags)))


def torch_generator(seed: int, *tags: Tag) -> torch.Generator:
    """The torch CPU generator of this name."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *tags))


def seed_torch(seed: int, *tags: Tag) -> None:
    """Point torch's own streams (initial weights, dropout) at this name; training does so at every step."""
    import torch

    torch.manual_seed(derive(seed, *tags))
