"""`python -m tests.worker.on_terminal owned|disowned FILE command …`: runs it on a terminal of its own, which is closed
once the file is there. What is disowned is a background job there, of which its shell tells nobody.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from pathlib import Path

from tests.waiting import wait_until


def main(how: str, file: str, command: list[str]) -> None:
    master, slave = os.openpty()
    if os.fork():
        wait_until(Path(file).exists, timeout=60, describe="leave to close it")
        return
    os.close(master)
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    os.close(slave)
    if how == "disowned":
        if job := os.fork():
            os.waitpid(job, 0)  # until it is told that its terminal is closed, and dies
        os.setpgid(0, 0)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
