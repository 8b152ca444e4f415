"""torchrun that says in one line how a training ended that failed; what was wrong, the process itself has said."""

from __future__ import annotations

import logging
import sys

from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main


def launch(arguments: list[str]) -> int:
    """The exit status of the process that failed first; 1 where a signal ended it."""
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
    try:
        main(arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        ended = f"exit status {failure.exitcode}" if failure.exitcode > 0 else f"signal {-failure.exitcode}"
        say(f"process {rank} ended first, with {ended}; the others were stopped")
        return failure.exitcode if failure.exitcode > 0 else 1
    except DistError as error:
        say(f"the machines did not find one another ({str(error).splitlines()[0]}); look at --nodes and --master")
        return 2
    return 0


def say(text: str) -> None:
    print(f"torchrun: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(launch(sys.argv[1:]))
