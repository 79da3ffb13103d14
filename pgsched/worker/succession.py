"""The generations that follow the first one of a worker: started, watched, told what to do (decisions/010).

The main process stays the same for whoever started it. It is the first generation itself; once a later one works in its
place, it passes on what that one says and what it is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgsched.log import Event, Logger
from pgsched.worker.clock import monotonic
from pgsched.worker.generation import READY, REFUSED, RETIRE, WORK, new_generation
from pgsched.worker.notify import notify
from pgsched.worker.process import status_word

if TYPE_CHECKING:
    from collections.abc import Collection
    from signal import Signals

    from pgsched.worker.generation import Generation

READY_WITHIN_S = 75.0
"""Beyond that it isn't waited for: whoever asked for a reload (systemd: 90 s) wants to hear something."""


class EndedGeneration(NamedTuple):
    """A generation is gone: was it the one that worked, had it ever, and with which exit status?"""

    was_current: bool
    has_worked: bool
    status: int


class Succession:
    """Which generations there are besides this one."""

    def __init__(self) -> None:
        self._log = Logger()
        self._coming: Generation | None = None
        self._current: Generation | None = None
        self._leaving: list[Generation] = []
        self._is_asked_again = False
        self._is_stopping = False

    @property
    def has_current(self) -> bool:
        """Whether another one works in the place of this one."""
        return self._current is not None

    @property
    def is_over(self) -> bool:
        """Whether none is left."""
        return not self._all

    @property
    def ends(self) -> list[int]:
        """What to wait for, and what only this process may hold: its death must show."""
        return [each.line.fileno() for each in self._all]

    @property
    def wait_s(self) -> float:
        """Seconds until `check_time` has something to do."""
        if self._coming is None:
            return float("inf")
        return self._coming.started_at + READY_WITHIN_S - monotonic()

    @property
    def _all(self) -> list[Generation]:
        return [each for each in (self._coming, self._current, *self._leaving) if each is not None]

    def begin(self) -> None:
        """Start the next generation; where one is being started, another one after it: it reads what is there then."""
        if self._coming is not None:
            self._is_asked_again = True
            return
        notify(f"RELOADING=1\nMONOTONIC_USEC={round(monotonic() * 1_000_000)}")
        try:
            self._coming = new_generation()
        except OSError as error:
            self._tell_refused(f"it can't be started: {error}")

    def listen(self, stirring: Collection[int]) -> bool:
        """Take in what they say; answers whether another one works in the place of the former one from now on."""
        has_changed = False
        for each in self._all:
            if each.line.fileno() in stirring:
                has_changed |= self._hear(each)
        return has_changed

    def _hear(self, generation: Generation) -> bool:
        has_changed = False
        for line in generation.heard():
            if generation is self._coming and line == READY and not self._is_stopping:
                self._take_over(generation)
                has_changed = True
            if generation is self._coming and line.startswith(REFUSED):
                self._refuse(line.removeprefix(REFUSED))
            elif generation is self._current:
                notify(line)
        return has_changed

    def _take_over(self, generation: Generation) -> None:
        self._log.info(Event.WORKER_RELOADED, pid=generation.pid)
        if self._current is not None:
            self._current.line.tell(RETIRE)
            self._leaving.append(self._current)
        self._current, self._coming = generation, None
        generation.has_worked = True

    def let_work(self) -> None:
        """Nothing of the former one is in the way any more."""
        if self._current is not None:
            self._current.line.tell(WORK)
        self._go_on()

    def check_time(self) -> None:
        """Whether the one that is being started takes too long."""
        if self._coming is not None and self.wait_s <= 0:
            self._refuse(f"it was not ready within {READY_WITHIN_S:g} s")

    def _refuse(self, reason: str) -> None:
        assert self._coming is not None
        self._coming.stop(RETIRE)
        self._leaving.append(self._coming)
        self._coming = None
        self._tell_refused(reason)
        self._go_on()

    def _tell_refused(self, reason: str) -> None:
        self._log.error(Event.WORKER_RELOAD_REFUSED, error=reason)
        notify(f"READY=1\nSTATUS=the last reload was refused: {reason}")

    def _go_on(self) -> None:
        if self._is_asked_again and not self._is_stopping:
            self._is_asked_again = False
            self.begin()

    def stop(self, order: Signals) -> None:
        """Pass on what was asked of the worker."""
        self._is_stopping = True
        for each in self._all:
            each.stop(order.name)

    def note_end(self, pid: int, status: int) -> EndedGeneration | None:
        """A process is gone; answers what it was, if it was one of these."""
        generation = next((each for each in self._all if each.pid == pid), None)
        if generation is None:
            return None
        was_current = generation is self._current
        if generation is self._coming:
            self._coming = None
            self._note_never_ready(generation, status)
        elif was_current:
            self._current = None
        else:
            self._leaving.remove(generation)
        generation.line.close()
        return EndedGeneration(was_current, generation.has_worked, status)

    def _note_never_ready(self, generation: Generation, status: int) -> None:
        if self._is_stopping:
            return
        reasons = [line for line in generation.heard() if line.startswith(REFUSED)]
        ended = f"it ended before it was ready ({status_word(status)})"
        self._tell_refused(reasons[0].removeprefix(REFUSED) if reasons else ended)
        self._go_on()
