"""Daily: one or more fixed local times, every day. Knows no weekdays: that is Cron's."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from pgsched.domain.schedule.local_time import SECOND, next_fixed
from pgsched.domain.schedule.schedule import utc
from pgsched.domain.schedule.zone import zone

ALLOWED = "HH:MM or HH:MM:SS from 00:00 to 23:59:59, such as '09:00'"

_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?")


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Daily:
    """`Daily("09:00", "17:30", timezone="Europe/Rome")`: every day at these local times; their order is of no account.

    A time that is skipped runs at the first instant after the gap (two in one gap: once), one that comes twice
    the first time only. Raises: ValueError where there is no time, or one that isn't; TypeError for other arguments.
    """

    times: tuple[time, ...]
    timezone: str

    def __init__(self, *times: str, timezone: str = "UTC") -> None:
        if not times:
            raise ValueError(f"Daily needs at least one local time; allowed: {ALLOWED}")
        zone(timezone)
        object.__setattr__(self, "times", tuple(sorted({_time(text) for text in times})))
        object.__setattr__(self, "timezone", timezone)

    def __repr__(self) -> str:
        times = ", ".join(repr(f"{at:%H:%M:%S}".removesuffix(":00")) for at in self.times)
        return f"Daily({times}, timezone={self.timezone!r})"

    def next_time(self, after: datetime) -> datetime:
        """The first of the times strictly after `after`, in UTC. Raises: ValueError past the year 9999."""
        start = utc(after).replace(microsecond=0)
        try:
            return next_fixed(start + SECOND, zone(self.timezone), self._match)
        except OverflowError:
            raise ValueError(
                f"{self!r} has no time after {after} within the years 1 to 9999"
            ) from None

    def _match(self, local: datetime) -> datetime:
        """The first of the times that is not before the naive `local`."""
        today = bisect_left(self.times, local.time())
        if today < len(self.times):
            return datetime.combine(local, self.times[today])
        return datetime.combine(local + timedelta(days=1), self.times[0])


def _time(text: str) -> time:
    if not isinstance(text, str):
        raise TypeError(f"a local time is text such as '09:00', not {text!r:.60}")
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text!r:.60} is no local time; allowed: {ALLOWED}")
    return time.fromisoformat(text)
