"""One of two ranks: three steps of every method, what it ends with written to <out>."""

import sys
from pathlib import Path

import toy
import torch

from spkssl import dist

out = Path(sys.argv[1])
dist.start("cpu")
torch.set_num_threads(1)
for case in toy.cases():
    method = toy.run(case, out / case, toy.plain_loop(case))
    torch.save(method.state_dict(), out / case / f"rank{dist.rank()}.pt")
    dist.barrier()
dist.stop()
