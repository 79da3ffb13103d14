"""From local times to instants, through clocks that are put on and back. Never decides which local times match.

Two searches over one zone. Both take `start`, the first instant (whole seconds, UTC) that may be the answer,
and `search`, which gives the first matching local time that is not before the one it is given.

They count on this of every zone there is: a clock is put on or back by a day at most, and not twice within two.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

Search: TypeAlias = "Callable[[datetime], datetime]"

LARGEST_SHIFT = timedelta(days=1)
"""Pacific/Apia left out the 30th of December 2011; no clock was ever put on or back by more."""

SECOND = timedelta(seconds=1)


def next_fixed(start: datetime, zone: ZoneInfo, search: Search) -> datetime:
    """The next match, each local time once: in a gap at the first instant after it, in a fold the first time."""
    # From what the clock would show had it not just been put on: at the very end of a gap, what it skipped is next.
    instant = _first_instant(search(_local(start - SECOND, zone) + SECOND), zone)
    if instant >= start:
        return instant
    # `start` is in the second pass of a repeated hour, and what matches in there ran in the first.
    turn = _turn(instant, start, zone)
    end_of_first_pass = _local(instant, zone) + (turn - instant)
    return _first_instant(search(end_of_first_pass), zone)


def next_on_the_clock(start: datetime, zone: ZoneInfo, search: Search) -> datetime:
    """The next instant at which the clock shows a match: none is made up for a gap, both passes of a fold count."""
    while True:
        local = _local(start, zone)
        match = search(local)
        ahead = min(match - local, LARGEST_SHIFT)
        if _offset(start, zone) != _offset(start + ahead, zone):
            start = _turn(start, start + ahead, zone)
        elif ahead == match - local:
            return start + ahead
        else:  # No earlier time can come again from further away than the largest shift.
            start = _first_instant(match, zone)


def _local(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the clock on the wall shows, as a naive datetime."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta | None:
    return instant.astimezone(zone).utcoffset()


def _first_instant(local: datetime, zone: ZoneInfo) -> datetime:
    """When the clock first shows `local`; where it never does, the first instant after the gap."""
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    # In a gap the two readings change places (PEP 495), and the turn lies between them.
    return first if first <= second else _turn(second, first, zone)


def _turn(early: datetime, late: datetime, zone: ZoneInfo) -> datetime:
    """The first instant of the offset that holds at `late`; the one at `early` is another."""
    offset = _offset(late, zone)
    while late - early > SECOND:
        middle = early + (late - early) // SECOND // 2 * SECOND
        if _offset(middle, zone) == offset:
            late = middle
        else:
            early = middle
    return late
