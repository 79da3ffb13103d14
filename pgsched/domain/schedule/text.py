"""Schedules as one line of text, as `pgsched next` takes them. Never runs what it reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgsched.domain.duration import format_duration, parse_duration
from pgsched.domain.schedule.cron import Cron
from pgsched.domain.schedule.daily import Daily
from pgsched.domain.schedule.every import Every
from pgsched.domain.schedule.zone import zone
from pgsched.domain.text import cut

if TYPE_CHECKING:
    from pgsched.domain.schedule.schedule import Schedule

ALLOWED = (
    "a cron expression such as '0 9 * * MON-FRI' or '@daily', 'every 1h30m', 'daily 09:00,17:30'"
)

_CRON_FIELDS = (5, 6)
LONGEST_SHOWN = 120


def parse_schedule(text: str, timezone: str | None = None) -> Schedule:
    """The schedule that `text` says: a cron expression, `every DURATION` or `daily TIME,TIME...` (in any case).

    `timezone` None means UTC; for `every` a zone changes nothing.
    Raises: ValueError, one line, naming the forms or what is wrong in the one that was meant; TypeError.
    """
    if not isinstance(text, str):
        raise TypeError(f"a schedule is text, not {text!r:.60}; allowed: {ALLOWED}")
    key = "UTC" if timezone is None else timezone
    words = text.split()
    form = words[0].lower() if words else ""
    said = " ".join(words[1:])
    if form == "every":
        zone(key)
        return Every(parse_duration(said.lower()))
    if form == "daily":
        return Daily(*re.split(" ?, ?", said), timezone=key)
    if form.startswith("@") or len(words) in _CRON_FIELDS:
        return Cron(text, key)
    raise ValueError(f"{text!r:.60} is no schedule; allowed: {ALLOWED}")


def schedule_text(schedule: Schedule) -> str:
    """The line that `parse_schedule` reads, and behind it the zone unless that is UTC; of a user's own its `repr`."""
    match schedule:
        case Every():
            return f"every {format_duration(schedule.interval)}"
        case Cron():
            return _zoned(schedule.expression, schedule.timezone)
        case Daily():
            times = ",".join(f"{at:%H:%M:%S}".removesuffix(":00") for at in schedule.times)
            return _zoned(f"daily {times}", schedule.timezone)
        case _:
            return cut(repr(schedule), LONGEST_SHOWN)


def _zoned(text: str, timezone: str) -> str:
    return text if timezone == "UTC" else f"{text} {timezone}"
