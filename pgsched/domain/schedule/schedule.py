"""What a schedule is, and how its times are asked for. Never reads a clock: `after` is always an argument."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

MOST_TIMES = 1000
"""The most that `coming_times` computes at once: what a person may want to look at, and some milliseconds."""


@runtime_checkable
class Schedule(Protocol):
    """The pure rule that gives a recurring task its next time. Any object with this method is one.

    A worker asks when a run has ended, with the end of that run as `after`.
    """

    def next_time(self, after: datetime, /) -> datetime:
        """The first time strictly after `after`. Both are aware; the same `after` always has the same answer."""
        ...


def coming_times(schedule: Schedule, after: datetime, count: int) -> list[datetime]:
    """The next `count` (1 to 1000) times of `schedule` after `after`, in UTC, as if its runs took no time.

    Raises: ValueError where a time is missing (a calendar ends with the year 9999), or where a schedule of
    the user's own answers one that is naive or not later; TypeError where it answers no time at all.
    """
    if not isinstance(count, int) or not 1 <= count <= MOST_TIMES:
        raise ValueError(f"count must be a whole number from 1 to {MOST_TIMES}, not {count!r}")
    times = []
    latest = utc(after)
    for _ in range(count):
        following = utc(schedule.next_time(latest), f"the answer of {schedule!r:.120}")
        if following <= latest:
            raise ValueError(
                f"{schedule!r:.120} answers {following} as the next time after {latest}: that is not later"
            )
        latest = following
        times.append(latest)
    return times


def utc(instant: datetime, name: str = "after") -> datetime:
    """The same instant in UTC. Raises: TypeError where it is no datetime, ValueError where it has no zone."""
    if not isinstance(instant, datetime):
        raise TypeError(f"{name} must be an aware datetime, not {instant!r:.80}")
    if instant.utcoffset() is None:
        raise ValueError(f"{name} must have a time zone, and {instant.isoformat()} has none")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError(
            f"{name} must be within the years 1 to 9999 of UTC, and {instant} is not"
        ) from None
