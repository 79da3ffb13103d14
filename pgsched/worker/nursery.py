"""Has executions run in processes of their own: the poller's side of `runner.py`.

A poller has threads and must not fork. It asks its supervisor to (decisions/007), over a socket that lasts as long as
the worker: a request carries one end of the new process's channel, an answer says how a process ended.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pgsched.worker.clock import monotonic
from pgsched.worker.runner import Errand
from pgsched.worker.wakeup import readable

if TYPE_CHECKING:
    from pgsched.domain.execution import Held
    from pgsched.worker.clock import Clock
    from pgsched.worker.run import Run

REQUEST = b"fork"
DEATH = struct.Struct("ii")
"""A process and its exit status, as `os.waitstatus_to_exitcode` says it."""

STATUS_S = 2.0
"""How long the supervisor may take to tell how a process ended."""


class Sockets(NamedTuple):
    """Both ends of what a poller and its supervisor talk over."""

    supervisor: socket.socket
    poller: socket.socket


def new_sockets() -> Sockets:
    ends = Sockets(*socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
    ends.supervisor.setblocking(False)
    return ends


class Died(NamedTuple):
    """A runner ended without an answer."""

    cause: str


class Stopped(NamedTuple):
    """A runner was ended by its poller, because its time was over or it was asked to."""

    is_late: bool


Answer: TypeAlias = "Run | Died | Stopped"


class Nursery:
    """The processes of a poller's isolated runs. Each of its methods may be called from any thread."""

    def __init__(self, control: socket.socket, clock: Clock, identity: str) -> None:
        self._control = control
        self._clock = clock
        self._identity = identity
        self._running: dict[int, Held] = {}
        self._ended: dict[int, int] = {}
        self._stopped: set[int] = set()
        self._reading = threading.Lock()

    def run(self, execution: Held, timeout_s: float | None) -> Answer:
        """Run it in a process of its own, until it ends or its time is over."""
        try:
            channel, pid = self._hire()
        except (OSError, EOFError):  # the supervisor is gone: this poller is about to drain
            return Stopped(is_late=False)
        self._running[pid] = execution
        is_late = False
        try:
            channel.send(Errand(execution, self._clock, self._identity))
            if not channel.poll(timeout_s):
                is_late = True
                self._kill(pid)
            run: Run = channel.recv()
        except (OSError, EOFError):
            status = self._status_of(pid)
            if status is None:  # it has closed its channel, and may still be doing whatever it does
                self._kill(pid)
                status = self._status_of(pid)
            if is_late or pid in self._stopped or status is None:
                return Stopped(is_late=is_late)
            return Died(status_word(status))
        else:
            return run
        finally:
            channel.close()
            self._running.pop(pid, None)
            self._stopped.discard(pid)

    def stop(self, name: str | None = None) -> int:
        """End every process, or those that run one task; answers how many."""
        pids = [pid for pid, run in list(self._running.items()) if name in {None, run.task_name}]
        for pid in pids:
            self._stopped.add(pid)
            self._kill(pid)
        return len(pids)

    def _hire(self) -> tuple[Connection, int]:
        ours, theirs = socket.socketpair()
        with theirs:
            channel = Connection(ours.detach())
            socket.send_fds(self._control, [REQUEST], [theirs.fileno()])
        pid: int = channel.recv()
        return channel, pid

    def _kill(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _status_of(self, pid: int) -> int | None:
        """How a process ended; None where the supervisor doesn't tell."""
        ends_at = monotonic() + STATUS_S
        while pid not in self._ended and monotonic() < ends_at:
            with self._reading:
                if pid not in self._ended and readable([self._control.fileno()], 0.05):
                    self._take_status()
        return self._ended.pop(pid, None)

    def _take_status(self) -> None:
        with suppress(BlockingIOError):
            ended, status = DEATH.unpack(self._control.recv(DEATH.size))
            self._ended[ended] = status


def status_word(status: int) -> str:
    """An exit status in words: the signal's name where it was one."""
    if status >= 0:
        return f"exit {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
