"""A process of a training over machines: notes which GPU it would take, then is the `spkssl` command on the CPU."""

import sys
from pathlib import Path

import torch

from spkssl import dist
from spkssl.cli import main
from spkssl.stages.run_folder import device_of

taken: list[int] = []
torch.cuda.is_available, torch.cuda.set_device = lambda: True, taken.append
device = device_of(2)
torch.cuda.is_available = lambda: False
assert dist.start("cpu")
where = f"{dist.rank()} of {dist.world_size()}: {device} {taken}\n"
(Path(sys.argv.pop(1)) / f"rank{dist.rank()}").write_text(where)
main()
