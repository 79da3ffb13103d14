"""`python -m tests.worker.barren worker …`: pgsched on a machine that has no process to spare while a file is there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pgsched.cli.main import main

fork = os.fork


def fork_if_possible() -> int:
    if Path(os.environ["DIARY"] + ".barren").exists():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return fork()


if __name__ == "__main__":
    os.fork = fork_if_possible
    main()
