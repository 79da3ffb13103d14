"""The database's time, carried forward by the monotonic clock: a worker's own clock may be wrong.

The one file that may ask the machine what time it is, and only until the database has said so first.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Answers the database's time as of the last observation plus what has passed since."""

    def __init__(self) -> None:
        self._offset = datetime.now(UTC) - timedelta(seconds=time.monotonic())

    def observe(self, database_now: datetime) -> None:
        """Take over the time that the database just answered. Late by the way back, never early."""
        self._offset = database_now - timedelta(seconds=time.monotonic())

    def now(self) -> datetime:
        return self.at(time.monotonic())

    def at(self, moment: float) -> datetime:
        """The database's time when the monotonic clock showed `moment`."""
        return self._offset + timedelta(seconds=moment)


def monotonic() -> float:
    """Seconds that only ever grow, for waiting and for durations."""
    return time.monotonic()
