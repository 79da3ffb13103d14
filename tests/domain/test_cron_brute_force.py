"""Cron and Daily against a simulation that knows no shortcuts: a clock on the wall, read every minute or second.

The simulation shares nothing with the code: it has its own reading of expressions, and it decides about gaps and
repeated hours by a high-water mark of what the clock has shown, not by the folds of datetimes.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgsched.domain.schedule import Cron, Daily, Schedule

# Around these instants (UTC) a clock was put on or back.
TURNS = [
    ("Europe/Rome", "2027-03-28T01:00"),
    ("Europe/Rome", "2027-10-31T01:00"),
    ("America/New_York", "2027-03-14T07:00"),
    ("America/New_York", "2027-11-07T06:00"),
    ("Australia/Lord_Howe", "2027-04-03T15:00"),  # back by half an hour
    ("Australia/Lord_Howe", "2027-10-02T15:30"),  # on by half an hour
    ("Africa/Casablanca", "2024-03-10T02:00"),  # back for Ramadan
    ("Africa/Casablanca", "2024-04-14T02:00"),
    ("Asia/Kathmandu", "1985-12-31T18:30"),  # on by a quarter of an hour, at midnight
    ("America/St_Johns", "2006-04-02T03:31"),  # a minute past midnight
    ("America/St_Johns", "2006-10-29T02:31"),  # from Sunday back into Saturday
    ("Pacific/Apia", "2011-12-30T10:00"),  # a day left out
    ("Asia/Gaza", "2024-04-20T00:00"),
    ("Asia/Gaza", "2024-10-25T23:00"),
    ("Europe/Dublin", "2027-03-28T01:00"),  # winter is the time with the offset of its own
    ("Europe/Dublin", "2027-10-31T01:00"),
    ("America/Sao_Paulo", "2018-11-04T03:00"),  # there was no midnight
    ("America/Sao_Paulo", "2018-02-18T02:00"),  # from midnight back into Saturday
    ("America/Havana", "2027-11-07T05:00"),  # midnight comes twice
    ("Pacific/Kwajalein", "1969-09-30T13:00"),  # back by 23 hours
    ("Antarctica/Troll", "2027-10-31T01:00"),  # back by two hours
    ("America/Caracas", "2007-12-09T07:00"),
]

EVERY_MINUTE = [
    *(
        "30 2 * * *",
        "0 0 * * *",
        "15 0 * * *",
        "59 23 * * *",
        "0,30 1-3 * * *",
        "0 2,3 * * *",
        "0-59 0-23 * * *",
    ),
    *(
        "10-50/20 0-4/2 * * *",
        "45 1 * * SUN",
        "0 9 * * MON-FRI",
        "5 0 30 12 *",
        "30 2 28 3 SUN",
        "7/13 23,0 * * *",
    ),
    *(
        "* * * * *",
        "*/15 * * * *",
        "30 * * * *",
        "*/10 2 * * *",
        "*/7 0 * * *",
        "*/20 23 * * SAT",
        "40 */2 * * *",
    ),
    *(
        "0 */12 * * *",
        "*/5 1-3 * * SUN",
        "* 0-4 30 12 *",
        "1 * * * 6,0",
        "*/30 2,3 28-31 MAR,OCT *",
        "*,5 2 * * *",
    ),
]

EVERY_SECOND = [
    *(
        "0 30 2 * * *",
        "15 0 0 * * *",
        "*/20 30 2 * * *",
        "59 59 23 * * *",
        "30 0,30 1-3 * * *",
        "* 10 1,2 * * *",
    ),
    *(
        "* * * * * *",
        "*/7 */5 * * * *",
        "30 * 2 * * *",
        "0 15 */1 * * *",
        "10-20/5 */30 0-3 * * SUN",
        "45 59 * * * *",
    ),
]

SECOND_TURNS = [
    *TURNS[:2],
    *TURNS[4:6],
    *TURNS[10:11],
    *TURNS[16:18],
    ("Africa/Monrovia", "1972-01-07T00:44:30"),  # on by 44 minutes and 30 seconds
]

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)

NAMES = {
    name: str(number)
    for names, base in (
        ("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC", 1),
        ("SUN MON TUE WED THU FRI SAT", 0),
    )
    for number, name in enumerate(names.split(), base)
}


class Tick(NamedTuple):
    """One reading of the clock: when, what it showed, and what it showed or passed over for the first time."""

    instant: datetime
    shown: datetime
    reached: tuple[datetime, ...]


@cache
def ticks(zone: str, turn: str, step: timedelta, reach: timedelta) -> list[Tick]:
    centre = datetime.fromisoformat(turn).replace(tzinfo=UTC)
    end = centre + reach
    instant = centre - reach
    highest = wall(instant, zone)
    found = []
    while instant < end:
        instant += step
        shown = wall(instant, zone)
        reached = []
        while highest < shown:
            highest += step
            reached.append(highest)
        found.append(Tick(instant, shown, tuple(reached)))
    return found


def wall(instant: datetime, zone: str) -> datetime:
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


class Expression:
    """A cron expression read in the plainest way: a set of numbers for each field."""

    def __init__(self, text: str) -> None:
        fields = text.split()
        fields = fields if len(fields) == 6 else ["0", *fields]
        bounds = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
        self.sets = [numbers(field, *bound) for field, bound in zip(fields, bounds, strict=True)]
        self.both_days = fields[3].startswith("*") or fields[5].startswith("*")
        self.follows_the_clock = fields[1].startswith("*") or fields[2].startswith("*")

    def matches(self, local: datetime) -> bool:
        second, minute, hour, day, month, weekday = self.sets
        if local.minute not in minute or local.hour not in hour or local.second not in second:
            return False
        is_day = local.day in day
        is_weekday = bool({local.isoweekday(), local.isoweekday() % 7} & weekday)
        return local.month in month and (
            is_day and is_weekday if self.both_days else is_day or is_weekday
        )

    def times(self, clock: list[Tick]) -> list[datetime]:
        if self.follows_the_clock:
            return [tick.instant for tick in clock if self.matches(tick.shown)]
        return [tick.instant for tick in clock if any(map(self.matches, tick.reached))]


def numbers(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = int(NAMES.get(first, first))
            end = int(NAMES.get(last, last)) if last else high if step else start
        found.update(range(start, end + 1, int(step or 1)))
    return found


def times_between(schedule: Schedule, after: datetime, end: datetime) -> list[datetime]:
    found = []
    while (after := schedule.next_time(after)) <= end:
        found.append(after)
    return found


@pytest.mark.parametrize(("zone", "turn"), TURNS + SECOND_TURNS[-1:])
def test_each_of_the_instants_is_a_turn_of_its_clock(zone: str, turn: str) -> None:
    instant = datetime.fromisoformat(turn).replace(tzinfo=UTC)
    assert wall(instant, zone) - wall(instant - SECOND, zone) != SECOND


@pytest.mark.parametrize("expression", EVERY_MINUTE)
@pytest.mark.parametrize(("zone", "turn"), TURNS)
def test_cron_runs_when_the_simulated_clock_says(zone: str, turn: str, expression: str) -> None:
    clock = ticks(zone, turn, MINUTE, timedelta(days=2))
    start, end = clock[0].instant - MINUTE, clock[-1].instant
    assert times_between(Cron(expression, zone), start, end) == Expression(expression).times(clock)


@pytest.mark.parametrize("expression", EVERY_SECOND)
@pytest.mark.parametrize(("zone", "turn"), SECOND_TURNS)
def test_cron_with_seconds_runs_when_the_simulated_clock_says(
    zone: str, turn: str, expression: str
) -> None:
    clock = ticks(zone, turn, SECOND, timedelta(hours=1, minutes=45))
    start, end = clock[0].instant - SECOND, clock[-1].instant
    assert times_between(Cron(expression, zone), start, end) == Expression(expression).times(clock)


@pytest.mark.parametrize(
    "times",
    [
        ("02:30",),
        ("00:00",),
        ("23:30", "00:30"),
        ("02:00", "02:15", "03:00"),
        ("01:30", "01:31", "12:00", "23:59"),
    ],
)
@pytest.mark.parametrize(("zone", "turn"), TURNS)
def test_daily_runs_when_the_simulated_clock_says(
    zone: str, turn: str, times: tuple[str, ...]
) -> None:
    clock = ticks(zone, turn, MINUTE, timedelta(days=2))
    start, end = clock[0].instant - MINUTE, clock[-1].instant
    expected = [
        tick.instant for tick in clock if any(f"{local:%H:%M}" in times for local in tick.reached)
    ]
    assert times_between(Daily(*times, timezone=zone), start, end) == expected


def fields(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: "{}-{}".format(*sorted(pair)))
    wide = st.tuples(number, st.integers(low + 1, high)).filter(lambda pair: pair[0] < pair[1])
    stepped = st.tuples(wide, st.integers(1, high)).map(
        lambda drawn: f"{drawn[0][0]}-{drawn[0][1]}/{drawn[1]}"
    )
    star = st.one_of(st.just("*"), st.integers(1, high).map("*/{}".format))
    term = st.one_of(number.map(str), span, stepped)
    return st.one_of(star, term, st.lists(term, min_size=2, max_size=4).map(",".join))


expressions = st.tuples(
    fields(0, 59),
    st.one_of(fields(0, 4), fields(0, 23)),
    st.just("*"),
    st.just("*"),
    st.one_of(st.just("*"), fields(0, 6)),
).map(" ".join)


@given(turn=st.sampled_from(TURNS), expression=expressions, offset_s=st.floats(-80_000, 80_000))
@settings(max_examples=300, deadline=None)
def test_the_next_time_after_any_instant_is_the_first_one_the_simulated_clock_says(
    turn: tuple[str, str], expression: str, offset_s: float
) -> None:
    clock = ticks(*turn, MINUTE, timedelta(days=2))
    after = datetime.fromisoformat(turn[1]).replace(tzinfo=UTC) + timedelta(seconds=offset_s)
    expected = Expression(expression).times(clock)
    index = bisect_right(expected, after)
    found = Cron(expression, turn[0]).next_time(after)
    if index < len(expected):
        assert found == expected[index]
    else:
        assert found > clock[-1].instant


@given(
    zone=st.sampled_from(sorted({zone for zone, _ in TURNS})),
    day=st.integers(0, 365 * 60),
    expression=st.one_of(expressions, st.sampled_from(EVERY_MINUTE)),
)
@settings(max_examples=60, deadline=None)
def test_cron_runs_when_the_simulated_clock_says_in_any_year(
    zone: str, day: int, expression: str
) -> None:
    turn = (datetime(1980, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m-%dT%H:%M")
    clock = ticks.__wrapped__(zone, turn, MINUTE, timedelta(days=1))
    start, end = clock[0].instant - MINUTE, clock[-1].instant
    assert times_between(Cron(expression, zone), start, end) == Expression(expression).times(clock)
