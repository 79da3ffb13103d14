"""The database's time, carried forward by the monotonic clock: a worker's own clock may be wrong.

The one file that may ask the machine what time it is, and only until the database has said so first.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Keeps to what the database answers, only as closely as each answer tells: it was true at some
    moment between the question and the answer, and an answer may have been on its way for long.
    """

    def __init__(self) -> None:
        self._offset = datetime.now(UTC) - timedelta(seconds=time.monotonic())

    def observe(self, database_now: datetime, asked_at: float) -> None:
        """Take over the time that the database just answered to what was asked when the monotonic clock
        showed `asked_at`, unless this clock agrees with it. Late by the way back at most, hardly ever early.
        """
        earliest = database_now - timedelta(seconds=time.monotonic())
        latest = database_now - timedelta(seconds=asked_at)
        if not earliest <= self._offset <= latest:
            self._offset = earliest

    def now(self) -> datetime:
        return self.at(time.monotonic())

    def at(self, moment: float) -> datetime:
        """The database's time when the monotonic clock showed `moment`."""
        return self._offset + timedelta(seconds=moment)

    def instant_of(self, when: datetime | timedelta) -> datetime:
        """An instant, or what lies so far from now."""
        return self.now() + when if isinstance(when, timedelta) else when

    @property
    def machine_ahead(self) -> timedelta:
        """How far this machine's own clock is ahead of the database's."""
        return datetime.now(UTC) - self.now()


def monotonic() -> float:
    """Seconds that only ever grow, for waiting and for durations."""
    return time.monotonic()
