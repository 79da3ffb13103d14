"""Every: a fixed interval, counted from the end of the last run. Knows no calendar and no time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from pgsched.domain.duration import LONGEST_DURATION
from pgsched.domain.schedule.schedule import utc
from pgsched.errors import did_you_mean


class Interval(TypedDict, total=False):
    """The keywords of `Every`, those of a timedelta; they add up."""

    weeks: float
    days: float
    hours: float
    minutes: float
    seconds: float
    milliseconds: float
    microseconds: float


KEYWORDS = tuple(Interval.__annotations__)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Every:
    """`Every(hours=1)`, `Every(minutes=5, seconds=30)` or `Every(timedelta(...))`: that long after the last run ended.

    So runs never pile up, and a slow one moves all that follow; for fixed times of day use Cron or Daily.
    Raises: ValueError unless the interval is above 0 and at most 100 years; TypeError for other arguments.
    """

    interval: timedelta

    def __init__(self, interval: timedelta | None = None, /, **parts: Unpack[Interval]) -> None:
        object.__setattr__(self, "interval", _checked(_length(interval, parts)))

    def __repr__(self) -> str:
        days, seconds, microseconds = (
            self.interval.days,
            self.interval.seconds,
            self.interval.microseconds,
        )
        parts = {
            "days": days,
            "hours": seconds // 3600,
            "minutes": seconds // 60 % 60,
            "seconds": seconds % 60,
            "microseconds": microseconds,
        }
        return f"Every({', '.join(f'{name}={count}' for name, count in parts.items() if count)})"

    def first_time(self, now: datetime) -> datetime:
        """The first run of all is at once, in UTC: there is no last run to count from."""
        return utc(now)

    def next_time(self, after: datetime) -> datetime:
        """`after` (the end of the last run) plus the interval, in UTC. Raises: ValueError past the year 9999."""
        try:
            return utc(after) + self.interval
        except OverflowError:
            raise ValueError(
                f"{self!r} has no time after {after}: the calendar ends with the year 9999"
            ) from None


def _length(interval: timedelta | None, parts: Interval) -> timedelta:
    unknown = [name for name in parts if name not in KEYWORDS]
    if unknown:
        raise TypeError(
            f"Every takes {', '.join(KEYWORDS)}, not {unknown[0]!r:.60}{did_you_mean(unknown[0], KEYWORDS)}"
        )
    if interval is None:
        return _sum(parts)
    if parts:
        raise TypeError("Every takes a timedelta or keywords, not both")
    if not isinstance(interval, timedelta):
        raise TypeError(
            f"Every takes a timedelta or keywords such as hours=1, not {interval!r:.60}"
        )
    return interval


def _sum(parts: Interval) -> timedelta:
    try:
        return timedelta(**parts)
    except TypeError:
        raise TypeError(f"Every takes numbers, as in hours=1, not {parts!r:.80}") from None
    except (ValueError, OverflowError):
        raise ValueError(
            f"the interval of Every must be at most 100 years, not {parts!r:.80}"
        ) from None


def _checked(interval: timedelta) -> timedelta:
    if not timedelta(0) < interval <= LONGEST_DURATION:
        raise ValueError(
            f"the interval of Every must be above 0 and at most 100 years, not {interval!r}"
        )
    return interval
