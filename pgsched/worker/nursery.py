"""Has executions run in processes of their own: the poller's side of `runner.py`.

A poller has threads and must not fork. It asks its supervisor to (decisions/007), and neither ends a process itself nor
waits for one: it learns of either over the channel of that run.
"""

from __future__ import annotations

import math
import pickle
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from pgsched.domain.outcome import Crashed, Interrupted
from pgsched.worker.channel import HERE, PART_BYTES, content_of, ending_of, framed
from pgsched.worker.clock import monotonic
from pgsched.worker.process import status_word
from pgsched.worker.run import overran
from pgsched.worker.runner import Errand

if TYPE_CHECKING:
    from pgsched.domain.execution import Held
    from pgsched.domain.outcome import Outcome
    from pgsched.domain.task import AnyTask
    from pgsched.worker.clock import Clock
    from pgsched.worker.run import Run

HIRE_S = 10.0
"""How long a runner may take to be there. One that comes later finds its channel closed, and leaves."""

PAUSE_S = 1.0
"""Before an execution for which there is no runner is handed back: it would be picked again at once."""

LONGEST_WAIT_S = 3600.0
"""What one call may wait; timeouts may be longer than the kernel counts (24 days)."""


class Nursery:
    """The processes of a poller's isolated runs. Each of its methods may be called from any thread."""

    def __init__(self, control: socket.socket, clock: Clock, identity: str) -> None:
        self._control = control
        self._clock = clock
        self._identity = identity
        self._channels: set[socket.socket] = set()
        self._changing = threading.Lock()

    def run(self, task: AnyTask, execution: Held) -> Run | Outcome | None:
        """Run it in a process of its own; answers when that process is gone, or None where there was none to be had.

        What it did where it could tell, and otherwise an outcome: `Crashed` where the process died, `Failed` where it
        was ended because its time was over, `Interrupted` where it was made to end.
        """
        channel = self._hire(task)
        if channel is None:
            threading.Event().wait(PAUSE_S)
            return None
        try:
            with suppress(OSError):  # it is gone already: how, is heard
                channel.settimeout(LONGEST_WAIT_S)
                channel.sendall(
                    framed(pickle.dumps(Errand(execution, self._clock, self._identity)))
                )
            heard, is_late = _heard(
                channel, task.timeout.total_seconds() if task.timeout else math.inf
            )
        finally:
            with self._changing:
                self._channels.discard(channel)
            channel.close()
        return _understood(heard, task, is_late=is_late)

    def stop(self) -> None:
        """Have every process ended."""
        with self._changing:
            for channel in self._channels:
                _end(channel)

    def _hire(self, task: AnyTask) -> socket.socket | None:
        """The channel to a new runner; None where there is none to be had, or no supervisor any more."""
        try:
            ours, theirs = socket.socketpair()
        except OSError:
            return None
        try:
            with theirs:
                request = bytes([task.on_out_of_touch == "stop"])
                socket.send_fds(self._control, [request], [theirs.fileno()])
            ours.settimeout(HIRE_S)
            is_here = ours.recv(len(HERE)) == HERE
        except OSError:
            is_here = False
        if not is_here:
            ours.close()
            return None
        with self._changing:
            self._channels.add(ours)
        return ours


def _heard(channel: socket.socket, allowed_s: float) -> tuple[bytes, bool]:
    """All that is said until the channel is shut, and whether the run was made to end because its time was over."""
    heard = bytearray()
    ends_at = monotonic() + allowed_s
    is_late = False
    with suppress(ConnectionResetError):  # a channel that is shut with something unread in it
        while True:
            if monotonic() >= ends_at:
                is_late, ends_at = True, math.inf
                _end(channel)
            channel.settimeout(max(0.001, min(ends_at - monotonic(), LONGEST_WAIT_S)))
            try:
                part = channel.recv(PART_BYTES)
            except TimeoutError:
                continue
            if not part:
                break
            heard += part
    return bytes(heard), is_late


def _end(channel: socket.socket) -> None:
    with suppress(OSError):  # it has ended
        channel.shutdown(socket.SHUT_WR)


def _understood(heard: bytes, task: AnyTask, *, is_late: bool) -> Run | Outcome:
    """What it has told counts, however it ended afterwards."""
    told = content_of(heard)
    if told is not None:
        answer: Run | Outcome = pickle.loads(told)  # noqa: S301 our own runner's
        return answer
    ending = ending_of(heard)
    if is_late:
        return overran(task)
    if ending is None or ending.is_asked:
        return Interrupted()
    return Crashed(status_word(ending.status))
