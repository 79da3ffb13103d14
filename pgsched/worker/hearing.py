"""A worker's one connection that listens. Best effort: without it nothing is lost, it is only found later.

An outage of its own, and later tries: where the server has only few connections left, beats and pollers come first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pgsched.errors import DatabaseUnavailable
from pgsched.log import Logger
from pgsched.store.listening import NOW
from pgsched.worker.guard import Guard
from pgsched.worker.outage import LONGEST_PAUSE_S, Outage
from pgsched.worker.timer import Timer

if TYPE_CHECKING:
    from pgsched.store.listening import Hint, Listener
    from pgsched.store.session import Database

PROBE_S = 60.0
"""How often a silent listening connection is asked whether it is still there."""

DEAF_S = 0.005
"""After a notification the next ones are heard this much later, all at once: a flood of them must not keep the pollers
from working. (Measured, one client as fast as it can: twice as many a second, for a quarter of the worker's work.)"""


class Hearing:
    """Hears what schedulers notify."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._guard = Guard()
        self._listener: Listener | None = None
        self._outage = Outage(Logger(connection="listener"), first_pause_s=LONGEST_PAUSE_S)
        self._probe = Timer(PROBE_S)
        self._deaf = Timer(DEAF_S)

    @property
    def is_listening(self) -> bool:
        """Whether there is a connection that would hear a notification now."""
        return self._listener is not None

    @property
    def ends(self) -> list[int]:
        """What becomes readable when there is something to hear."""
        return [] if self._listener is None or self._deaf.wait_s else [self._listener.fileno()]

    @property
    def is_up(self) -> bool:
        return self._listener is not None

    @property
    def wait_s(self) -> float:
        """Seconds until `hear` is to be called, whatever becomes readable."""
        if self._database.is_pooled:
            return math.inf
        if self._listener is None:
            return self._outage.wait_s
        return self._deaf.wait_s or self._probe.wait_s

    def hear(self) -> list[Hint]:
        """What was notified since the last call; after a loss of the connection whatever it may have been.

        Nothing where the connection is pooled: who listens there is not who is told.
        """
        if self._database.is_pooled or self._outage.wait_s:
            return []
        try:
            return self._heard()
        except DatabaseUnavailable as error:
            self._close()
            self._outage.note_lost(error)
            return []

    def _heard(self) -> list[Hint]:
        if self._listener is None:
            self._listener = self._database.listen(self._name, self._guard)
            self._outage.note_answered()
            self._probe.restart()
            return [NOW]
        if not self._probe.wait_s:
            self._listener.probe()
            self._probe.restart()
        if self._deaf.wait_s or not (hints := self._listener.hear()):
            return []
        self._deaf.restart()
        return hints

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
