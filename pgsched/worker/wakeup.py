"""When to look next: something is due, a notification came, a run finished, a signal arrived, or the safety net.

Waits on file descriptors alone, so a waiting poller costs nothing and wakes within a millisecond.
"""

from __future__ import annotations

import math
import os
import select
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from pgsched.store.listening import Hint
from pgsched.worker.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgsched.worker.clock import Clock

HINT = struct.Struct("dd")
"""One hint on a poller's pipe."""

ALL_QUIET = math.nan
"""In the place of a hint's level: somebody has looked, and the next is due in so many seconds."""

LONGEST_WAIT_S = 3600.0

LATER_LOOKS_S = (0.05, 1.0)
"""After something was found or notified, pollers look so much later again: for what was scheduled in the same moment,
left the notifying to others (`schedule_one.sql`) and took longer to commit."""


class Bell:
    """A pipe that threads and signal handlers ring to end a wait; many rings before it is heard are one."""

    def __init__(self) -> None:
        self._heard, self._rung = os.pipe()
        for end in (self._heard, self._rung):
            os.set_blocking(end, False)

    def fileno(self) -> int:
        return self._heard

    @property
    def ringing_end(self) -> int:
        """For `signal.set_wakeup_fd`."""
        return self._rung

    def ring(self) -> None:
        with suppress(BlockingIOError):  # it is full of rings already
            os.write(self._rung, b"\0")

    def hush(self) -> None:
        drained(self._heard)


class Wakeup:
    """Knows when the next look is due, and whether there is a hint that it will find something."""

    def __init__(self, clock: Clock, *, polling_interval_s: float) -> None:
        self._clock = clock
        self._polling_interval_s = polling_interval_s
        self._next_look_at = -math.inf
        self._unasked_look_at = -math.inf
        self._hint_at = math.inf
        self._later_looks: tuple[float, ...] = ()

    @property
    def is_time(self) -> bool:
        """Whether there may be something due."""
        return monotonic() >= self._look_at

    @property
    def is_hinted(self) -> bool:
        """Whether somebody has said that there is something due now."""
        return monotonic() >= self._hint_at

    @property
    def wait_s(self) -> float:
        return max(0.0, self._look_at - monotonic())

    @property
    def _look_at(self) -> float:
        return min(self._next_look_at, self._unasked_look_at, self._hint_at)

    def look_now(self) -> None:
        self._next_look_at = -math.inf
        self._take_hint()

    def look_in(self, wait_s: float) -> None:
        """After a look that left nothing due: look again then, or at the polling interval."""
        now = monotonic()
        self._later_looks = tuple(at for at in self._later_looks if at > now)
        self._next_look_at = min((now + wait_s, *self._later_looks))
        self._unasked_look_at = now + self._polling_interval_s
        self._take_hint()

    def note_quiet(self, coming_s: float) -> None:
        """The housekeeper has looked for all: nothing is due, and the next comes in so many seconds."""
        now = monotonic()
        self._next_look_at = min(self._next_look_at, now + coming_s)
        self._unasked_look_at = now + self._polling_interval_s

    def note_stir(self) -> None:
        """There is something going on: look a little later again, whatever the next look finds."""
        now = monotonic()
        self._later_looks = tuple(now + wait_s for wait_s in LATER_LOOKS_S)

    def expect(self, wait_s: float) -> None:
        """Something is due in so many seconds: look then, unless a look comes earlier anyway."""
        self._hint_at = min(self._hint_at, monotonic() + wait_s)

    def hear(self, pipe: int) -> list[Hint]:
        """Take in what the housekeeper has written on this poller's pipe; answers it.

        Raises: EOFError when nobody is left to write.
        """
        heard = drained(pipe)
        whole = len(heard) - len(heard) % HINT.size
        hints = []
        for due, level in HINT.iter_unpack(heard[:whole]):
            if math.isnan(level):
                self.note_quiet(due)
            else:
                hints.append(Hint(due, level))
        if hints:
            wait_s = min(hints).due - self._clock.now().timestamp()
            self.expect(wait_s)
            if wait_s <= 0:
                self.note_stir()
        return hints

    def _take_hint(self) -> None:
        if self.is_hinted:
            self._hint_at = math.inf


def drained(pipe: int) -> bytes:
    """Everything that a non-blocking pipe holds now. Raises: EOFError when its other end is gone and it is empty."""
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(pipe, 65_536)
        except BlockingIOError:
            return b"".join(parts)
        if not part:
            if parts:
                return b"".join(parts)
            raise EOFError
        parts.append(part)


def readable(ends: list[int], wait_s: float) -> set[int]:
    """Those of these descriptors that can be read, after at most `wait_s` seconds.

    By `select`, as it keeps to the microsecond where `poll` rounds up to the next millisecond. It knows no descriptors
    past 1,023: those of a process that has as many open wait a little longer.
    """
    try:
        return set(select.select(ends, [], [], _bounded(wait_s))[0])
    except ValueError:
        return stirred(dict.fromkeys(ends, select.POLLIN), wait_s)


def stirred(ends: Mapping[int, int], wait_s: float) -> set[int]:
    """Those of these descriptors to which what is waited for (of `select.poll`) has happened."""
    poll = select.poll()
    for end, happening in ends.items():
        poll.register(end, happening)
    wait_ms = math.ceil(_bounded(wait_s) * 1000)
    return {end for end, _ in poll.poll(wait_ms)}


def _bounded(wait_s: float) -> float:
    """What is left until an instant may be less than nothing by now: `poll` would take that for ever."""
    return max(0.0, min(wait_s, LONGEST_WAIT_S))
