"""One of two ranks: an epoch of every method, what it ends with, or why it failed, written to <out>."""

import sys
import traceback
from pathlib import Path

import torch
import toy

from spkssl import dist

out = Path(sys.argv[1])
dist.start("cpu")
torch.set_num_threads(1)
for case in toy.TINY:
    (out / case).mkdir(exist_ok=True)
    end = out / case / f"rank{dist.rank()}"
    try:
        method = toy.run(case, out / case, toy.plain_loop(case))
        torch.save(method.state_dict(), end.with_suffix(".pt"))
    except Exception:  # the other methods are still to be tried
        end.with_suffix(".txt").write_text(traceback.format_exc())
    dist.barrier()
dist.stop()
