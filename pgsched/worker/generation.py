"""The two ends of a line between a worker's main process and a later generation of it (decisions/010).

A generation is a whole supervisor with processes of its own, started by a reload with the code and config of that
moment. It says how it does in the service manager's words; the main process answers with orders. A line each way, and
its end when the other one is gone. Decides nothing.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from pgsched.worker.clock import monotonic
from pgsched.worker.wakeup import drained

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "PGSCHED_PREDECESSOR"
"""The descriptor of its end, for who is started by a reload."""

READY = "READY=1"
REFUSED = "REFUSED="

LONGEST_REASON = 1000
"""Characters: a service manager drops what is longer than 4096 bytes, and READY=1 with it."""

WORK = "WORK"
"""The order to a generation that is ready: it works in the place of the former one."""
RETIRE = "RETIRE"
"""The order to stop picking, let what runs take its time, and end."""


class Line:
    """Texts without line breaks, to and fro."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._unread = b""

    def fileno(self) -> int:
        return self._end.fileno()

    def tell(self, text: str) -> None:
        """Never waits: who doesn't read for so long has other troubles."""
        with suppress(OSError):
            self._end.send(f"{text}\n".encode())

    def heard(self) -> list[str]:
        """What has come. Raises: EOFError where nothing more will."""
        try:
            self._unread += drained(self._end.fileno())
        except ConnectionResetError:  # it has left without reading all that it was told
            raise EOFError from None
        *lines, self._unread = self._unread.split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def close(self) -> None:
        self._end.close()


class Predecessor(Line):
    """The main process, for a generation that it has started."""

    @classmethod
    def of_environment(cls) -> Predecessor | None:
        """None for a worker that somebody else has started. Programs that tasks start are not told of it."""
        number = os.environ.pop(VARIABLE, None)
        if number is None:
            return None
        os.set_inheritable(int(number), False)
        return cls(socket.socket(fileno=int(number)))

    def refuse(self, reason: str) -> None:
        """Say why this generation can't work."""
        self.tell(REFUSED + " ".join(reason.split())[:LONGEST_REASON])


class Generation:
    """One that was started, for the main process."""

    def __init__(self, pid: int, line: Line) -> None:
        self.pid = pid
        self.line = line
        self.started_at = monotonic()
        self.is_up = False
        """Whether it has ever spoken: it does before its first poller, and obeys from then on."""
        self.has_worked = False
        """Whether it has ever had the place of the former one."""

    def heard(self) -> list[str]:
        """What it has said since the last time."""
        try:
            lines = self.line.heard()
        except EOFError:
            return []
        self.is_up = self.is_up or bool(lines)
        return lines

    def stop(self, order: str) -> None:
        """One that isn't up yet holds nothing, and can't be told anything."""
        self.heard()  # it may have become so while this process was at something else
        if self.is_up:
            self.line.tell(order)
        else:
            os.kill(self.pid, signal.SIGKILL)


def new_generation() -> Generation:
    """Start this program once more, as it was started: another interpreter reads code and config anew.

    Raises: OSError.
    """
    ours, theirs = socket.socketpair()
    try:
        os.set_inheritable(theirs.fileno(), True)
        pid = os.posix_spawn(
            sys.executable, [sys.executable, *sys.orig_argv[1:]], _environment(theirs.fileno())
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return Generation(pid, Line(ours))


def _environment(end: int) -> Mapping[str, str]:
    """What it says goes to the service manager through us, who are the one that is listened to."""
    ours = {"NOTIFY_SOCKET", "WATCHDOG_PID"}
    rest = {name: value for name, value in os.environ.items() if name not in ours}
    return {**rest, VARIABLE: str(end)}
