"""Cron expressions. What matches is cronsim's to say, on local times; this file adds time zones and early refusal.

cronsim's own handling of zones is never used: given aware times it makes up runs in gaps at midnight, passes over
matches after a shift of half an hour, leaves six fields in a gap, and may answer a time before the one it was given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from pgsched.domain.schedule.local_time import SECOND, next_fixed, next_on_the_clock
from pgsched.domain.schedule.schedule import utc
from pgsched.domain.schedule.zone import zone

if TYPE_CHECKING:
    from cronsim import CronSim

ALLOWED = (
    "5 fields (minute hour day-of-month month day-of-week), or 6 with seconds first, each like "
    "* 5 1-5 */15 1,15 JAN MON-FRI; or @hourly @daily @weekly @monthly @yearly"
)

NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * SUN",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

LONGEST_EXPRESSION = 500
"""Room for all sixty minutes by number, and all hours; parsing stays below a millisecond."""

_STEPS = (60, 60, 24, 31, 12, 7)
"""Per field how many values it has: a step beyond would silently run at other times than it says (`*/90`)."""

_FIRST_DAY = datetime(2000, 1, 1)  # noqa: DTZ001 a local time, no instant
_CYCLE = range(2000, 2028)
"""Years in which a month of each length begins on each day of the week."""


@dataclass(frozen=True, slots=True)
class Cron:
    """`Cron("0 9 * * MON-FRI", timezone="Europe/Rome")`: 5 fields, or 6 with seconds first; or `@daily` and the like.

    A local time that is skipped runs at the first instant after the gap, one that comes twice the first time only.
    Where the minute or hour field starts with `*`, the expression just follows the clock: nothing is made up for
    a gap, and both passes of a repeated hour run. When day-of-month and day-of-week are both given, either will do.
    Raises: ValueError, at once, for what is no expression or never matches; TypeError for what isn't text.
    """

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if not isinstance(self.expression, str):
            raise TypeError(
                f"a cron expression is text such as '0 9 * * MON-FRI', not {self.expression!r:.60}"
            )
        zone(self.timezone)
        problem = _problem(self.expression)
        if problem:
            raise ValueError(
                f"cron expression {self.expression!r:.60}: {problem}; allowed: {ALLOWED}"
            )
        object.__setattr__(self, "expression", " ".join(self.expression.split()))

    def next_time(self, after: datetime) -> datetime:
        """The first match strictly after `after`, in UTC. Raises: ValueError past the year 9999."""
        fields = _fields(self.expression)
        *_, minute, hour, _day, _month, _weekday = fields
        follows_the_clock = minute.startswith("*") or hour.startswith("*")
        find = next_on_the_clock if follows_the_clock else next_fixed
        start = utc(after).replace(microsecond=0)
        try:
            return find(start + SECOND, zone(self.timezone), lambda local: _match(fields, local))
        except OverflowError:
            raise ValueError(
                f"{self!r} has no time after {after} within the years 1 to 9999"
            ) from None


def _fields(expression: str) -> list[str]:
    return NAMED.get(expression.strip().lower(), expression).split()


def _match(fields: list[str], local: datetime) -> datetime:
    """The first match that is not before the naive `local`."""
    return next(_simulation(fields, local - SECOND))


def _simulation(fields: list[str], local: datetime) -> CronSim:
    from cronsim import CronSim  # 10 ms, and not every program has cron expressions

    return CronSim(" ".join(fields), local)


def _problem(expression: str) -> str | None:
    """Why it can't be used, if so. In this order: what is checked first keeps what follows quick."""
    from cronsim import CronSimError

    if len(expression) > LONGEST_EXPRESSION:
        return f"longer than {LONGEST_EXPRESSION} characters"
    fields = _fields(expression)
    if len(fields) not in {5, 6}:
        return f"5 or 6 fields are needed, not {len(fields)}"
    if not re.fullmatch(r"[0-9A-Za-z*/,#\- \t]+", " ".join(fields)):
        return "a character that has no meaning here"
    try:
        simulation = _simulation(fields, _FIRST_DAY)
    except CronSimError as error:
        return str(error).lower()
    return _excessive_step(fields) or (None if _ever_matches(simulation) else "no day ever matches")


def _excessive_step(fields: list[str]) -> str | None:
    for field, most in zip(fields, _STEPS[-len(fields) :], strict=True):
        for term in field.split(","):
            _, _, step = term.partition("/")
            if step and int(step) > most:
                return f"the step of {term!r} is more than {most}"
    return None


def _ever_matches(simulation: CronSim) -> bool:
    """Whether there is a day for it; the times of day are free of each other and of the day."""
    from calendar import monthrange  # 8 ms, which importing cronsim has paid already

    kinds = {
        monthrange(year, month): date(year, month, 1)
        for year in _CYCLE
        for month in simulation.months
    }
    return any(
        simulation.match_day(first + timedelta(days=day))
        for (_, length), first in kinds.items()
        for day in range(length)
    )
