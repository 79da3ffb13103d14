"""The processes of one poller's isolated runs, as the supervisor keeps them: the one that forks, ends and buries them.

Never reads what a runner says. Only who reaps a process may kill it: nobody else knows whether its number is still its
own. A runner leads a process group, so that the programs that it has started end with it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pgsched.worker.channel import Ending, new_sockets
from pgsched.worker.clock import monotonic
from pgsched.worker.fuse import BURNT
from pgsched.worker.wakeup import readable

if TYPE_CHECKING:
    from collections.abc import Callable

HANGS_UP = getattr(select, "POLLRDHUP", select.POLLHUP)
"""A poller has shut its half of a channel down, or is gone."""

TELL_S = 0.1
"""How long an ending may take to be told: a channel that is still full belongs to a poller that is stopped."""

BURIAL_S = 2.0
"""How long killed processes are waited for."""

ROUND_S = 0.005


class Request(NamedTuple):
    """A poller wants a runner with this end of a channel."""

    channel: socket.socket
    never_overlaps: bool


@dataclass(slots=True)
class Running:
    """One runner; `is_asked` once it has been made to end."""

    channel: socket.socket
    never_overlaps: bool
    is_asked: bool = False


class Runners:
    """Those of one slot, by process."""

    def __init__(self) -> None:
        self._sockets = new_sockets()
        self._running: dict[int, Running] = {}

    @property
    def asking_end(self) -> socket.socket:
        """The poller's, to ask for runners over."""
        return self._sockets.poller

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What no other process may keep: that the supervisor is gone would not show on them."""
        channels = [running.channel.fileno() for running in self._running.values()]
        return (self._sockets.supervisor.fileno(), *channels)

    @property
    def ends(self) -> dict[int, int]:
        """What to wait for, by descriptor: a request, and pollers that hang up on a run."""
        channels = [run.channel.fileno() for run in self._running.values() if not run.is_asked]
        return {
            self._sockets.supervisor.fileno(): select.POLLIN,
            **dict.fromkeys(channels, HANGS_UP),
        }

    def next_request(self) -> Request | None:
        """None where there is none, and where no descriptor was left for its channel: its poller sees that closed."""
        try:
            asked, channels, _, _ = socket.recv_fds(self._sockets.supervisor, 16, 1)
        except OSError:
            return None
        if not channels:
            return None
        channel = socket.socket(fileno=channels[0])
        channel.set_inheritable(False)
        return Request(channel, bool(asked[0]))

    def start(self, request: Request, fork: Callable[[], int]) -> None:
        """Raises: OSError where there can't be a process; the poller is told."""
        try:
            pid = fork()
        except OSError:
            request.channel.close()
            raise
        with suppress(OSError):  # it does so itself, too: whoever comes first
            os.setpgid(pid, pid)
        self._running[pid] = Running(request.channel, request.never_overlaps)

    def end_abandoned(self, ready: set[int]) -> None:
        """Of these descriptors: the runs on which their poller has hung up."""
        for pid, running in self._running.items():
            if running.channel.fileno() in ready:
                _end(pid, running)

    def end_what_never_overlaps(self) -> None:
        """Others may soon take what they run."""
        for pid, running in self._running.items():
            if running.never_overlaps:
                _end(pid, running)

    def end_all(self) -> None:
        """Before anybody may take what they run: nobody is left whom they could answer.

        One that doesn't die sleeps in the kernel, and does nothing more when it wakes up: it is reaped later.
        """
        while request := self.next_request():
            request.channel.close()
        for pid, running in self._running.items():
            _end(pid, running)
        deadline = monotonic() + BURIAL_S
        while self._reap() and monotonic() < deadline:
            readable([], ROUND_S)
        for running in self._running.values():
            running.channel.close()
        self._running.clear()

    def _reap(self) -> bool:
        """Answers whether any are left."""
        for pid in list(self._running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self.note_end(pid, os.waitstatus_to_exitcode(status))
        return bool(self._running)

    def note_end(self, pid: int, status: int) -> None:
        """A process has been reaped. If it was one of these its poller learns how it ended, and of one that didn't end
        in order nothing goes on.
        """
        running = self._running.pop(pid, None)
        if running is None:
            return
        if running.never_overlaps and status == -BURNT:
            running.is_asked = True  # by itself, since its worker is out of touch
        if running.is_asked or status:
            _kill_group(pid)  # its number is taken for as long as the group has members
        with running.channel as channel, suppress(OSError):  # its poller is gone, or stopped
            channel.settimeout(TELL_S)
            channel.sendall(Ending(running.is_asked, status).packed())
            channel.shutdown(socket.SHUT_RDWR)


def _end(pid: int, running: Running) -> None:
    running.is_asked = True
    _kill_group(pid)


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
