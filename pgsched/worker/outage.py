"""A database that can't be reached: logged once when lost and once when back, tried at growing intervals."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from pgsched.log import Event
from pgsched.worker.clock import monotonic

if TYPE_CHECKING:
    from pgsched.errors import PgschedError
    from pgsched.log import Logger

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0
"""A worker is back to work this long after the database is, at worst."""


class Outage:
    """Whether the database is lost, since when, and when to try again."""

    def __init__(self, log: Logger, *, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self._log = log
        self._first_pause_s = first_pause_s
        self._lost_at: float | None = None
        self._pause_s = self._first_pause_s
        self._next_try_at = 0.0

    @property
    def is_on(self) -> bool:
        return self._lost_at is not None

    @property
    def wait_s(self) -> float:
        """Seconds until the next try; 0 where one may be made now."""
        return max(0.0, self._next_try_at - monotonic()) if self.is_on else 0.0

    def note_lost(self, error: PgschedError) -> None:
        """A try failed. Pauses grow, with full jitter, so that a fleet does not come back in step."""
        if self._lost_at is None:
            self._lost_at = monotonic()
            self._log.warning(Event.DATABASE_LOST, error=str(error))
        self._next_try_at = monotonic() + self._pause_s * random.uniform(0.5, 1.0)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    def note_answered(self) -> float:
        """A try worked. Answers for how many seconds the database had been lost, 0 where it had not."""
        if self._lost_at is None:
            return 0.0
        lost_s = monotonic() - self._lost_at
        self._lost_at = None
        self._pause_s = self._first_pause_s
        self._log.warning(Event.DATABASE_REGAINED, lost_s=round(lost_s, 3))
        return lost_s
