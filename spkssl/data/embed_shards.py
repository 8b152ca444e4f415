"""Embedding a set in shards, by processes or jobs of a cluster: the archive is the same to the byte for any number.

Shards share out whole batches, and batches depend on the whole set alone. A shard's record is written last; a
finished shard is kept by later calls as long as it was made from the same.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spkssl.data.embed import Embed, Utterance, embed
from spkssl.errors import complain
from spkssl.io.ark import Reader, read_scp, write_ark
from spkssl.io.atomic import write_json


@dataclass(frozen=True)
class Shard:
    """Every `jobs`-th batch from number `job` on, counted from 1."""

    folder: Path
    job: int
    batches: Sequence[Sequence[Utterance]]
    signature: str  # of all that decides the content

    @property
    def scp(self) -> Path:
        return self.folder / f"xvector.{self.job}.scp"

    @property
    def count(self) -> int:
        return sum(map(len, self.batches))

    def finished(self) -> bool:
        try:
            record = json.loads(self.scp.with_suffix(".json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        archive = self.scp.with_suffix(".ark")
        return record == self._record() and archive.exists() and self.scp.exists()

    def _record(self) -> dict[str, object]:
        return {"signature": self.signature, "utts": self.count}

    def make(self, model: Embed, device: str, advance: Callable[[], object] = lambda: None) -> None:
        """Write the archive and then the record; `advance` is called for every utterance."""
        record = self.scp.with_suffix(".json")
        record.unlink(missing_ok=True)

        def found() -> Iterator[tuple[str, NDArray[np.float32]]]:
            for item in embed(self.batches, model, device):
                advance()
                yield item

        write_ark(self.scp.with_suffix(".ark"), self.scp, found())
        write_json(record, self._record())


def plan(batches: Sequence[Sequence[Utterance]], scp: Path, jobs: int, signature: str) -> list[Shard]:
    """Batches are sorted by length, so dealing them in turn gives every shard as much to do."""
    jobs = min(jobs, len(batches))
    folder = scp.parent / f"split{jobs}"
    return [Shard(folder, job + 1, batches[job::jobs], signature) for job in range(jobs)]


def merge(shards: Sequence[Shard], scp: Path) -> tuple[int, int]:
    """Write the set's archive, sorted by utterance, from finished shards; how many embeddings and their dimension."""
    missing = [str(shard.job) for shard in shards if not shard.finished()]
    if missing:
        raise complain(
            scp.parent, f"shards not finished: {', '.join(missing)} of {len(shards)}", "run their jobs again"
        )
    places = {utt: place for shard in shards for utt, place in read_scp(shard.scp).items()}
    reader = Reader()
    count = write_ark(scp.with_suffix(".ark"), scp, ((utt, reader.read(places[utt])) for utt in sorted(places)))
    return count, reader.shape(next(iter(places.values())))[0]


def sweep(scp: Path) -> None:
    """Remove the shards, which nobody needs once they are merged."""
    for folder in scp.parent.glob("split*"):
        shutil.rmtree(folder)
