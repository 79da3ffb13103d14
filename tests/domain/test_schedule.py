"""Schedules: what they promise, and what they refuse. Their times against a simulation: test_cron_brute_force.py."""

from __future__ import annotations

import pickle
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.schedule import (
    Cron,
    Daily,
    Every,
    Schedule,
    coming_times,
    parse_schedule,
    schedule_text,
)

ROME = ZoneInfo("Europe/Rome")
NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
SCHEDULES: list[Schedule] = [
    Every(hours=1),
    Every(timedelta(milliseconds=1500)),
    Cron("0 9 * * MON-FRI", timezone="Europe/Rome"),
    Cron("*/15 * * * * *"),
    Cron("@daily"),
    Daily("09:00", "17:30:15", timezone="America/New_York"),
]

instants = st.datetimes(
    min_value=datetime(1900, 1, 1),
    max_value=datetime(2200, 1, 1),
    timezones=st.sampled_from([UTC, ROME, ZoneInfo("Australia/Lord_Howe")]),
)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@given(after=instants)
def test_the_next_time_is_later_aware_and_always_the_same(
    schedule: Schedule, after: datetime
) -> None:
    following = schedule.next_time(after)
    assert following > after
    assert following.tzinfo is UTC
    assert schedule.next_time(after) == following


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@given(one=instants, other=instants)
def test_a_later_instant_never_has_an_earlier_next_time(
    schedule: Schedule, one: datetime, other: datetime
) -> None:
    earlier, later = sorted((one, other))
    assert schedule.next_time(earlier) <= schedule.next_time(later)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_schedules_are_values(schedule: Schedule) -> None:
    pasted = eval(repr(schedule))
    assert pasted == schedule
    assert hash(pasted) == hash(schedule)
    assert pickle.loads(pickle.dumps(schedule)) == schedule


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_an_instant_without_a_zone_is_refused(schedule: Schedule) -> None:
    with pytest.raises(ValueError, match="must have a time zone"):
        schedule.next_time(datetime(2027, 1, 1))


def test_every_counts_from_the_end_of_the_last_run_and_starts_at_once() -> None:
    assert Every(minutes=90).next_time(NOON) == NOON + timedelta(minutes=90)
    assert Every(hours=1).first_time(NOON) == NOON


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        # 2027-03-28: 02:00 to 03:00 does not exist in Rome
        ("30 2 * * *", "2027-03-27T12:00+01:00", "2027-03-28T03:00+02:00"),
        ("0 2,3 * * *", "2027-03-27T12:00+01:00", "2027-03-28T03:00+02:00"),
        ("*/30 * * * *", "2027-03-28T01:30+01:00", "2027-03-28T03:00+02:00"),
        ("30 * * * *", "2027-03-28T01:30+01:00", "2027-03-28T03:30+02:00"),
        # 2027-10-31: 02:00 to 03:00 comes twice
        ("30 2 * * *", "2027-10-30T12:00+02:00", "2027-10-31T02:30+02:00"),
        ("30 2 * * *", "2027-10-31T02:30+02:00", "2027-11-01T02:30+01:00"),
        ("30 * * * *", "2027-10-31T02:30+02:00", "2027-10-31T02:30+01:00"),
        # ordinary days
        ("0 9 * * MON-FRI", "2027-03-26T09:00+01:00", "2027-03-29T09:00+02:00"),
        ("0 0 29 2 *", "2027-03-01T00:00+01:00", "2028-02-29T00:00+01:00"),
    ],
)
def test_daylight_saving_time_in_rome(expression: str, after: str, expected: str) -> None:
    found = Cron(expression, timezone="Europe/Rome").next_time(datetime.fromisoformat(after))
    assert found == datetime.fromisoformat(expected)


def test_two_daily_times_in_one_gap_run_once() -> None:
    daily = Daily("02:15", "02:45", "03:30", timezone="Europe/Rome")
    after = datetime(2027, 3, 27, 12, tzinfo=ROME)
    assert [
        found.astimezone(ROME).strftime("%d %H:%M") for found in coming_times(daily, after, 3)
    ] == [
        "28 03:00",
        "28 03:30",
        "29 02:15",
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 30 2 *",
        "0 0 31 4,6,9,11 *",
        "1--100000000 * * * *",
        "0-99999999999 * * * *",
        "*/0 * * * *",
        "*/90 * * * *",
        "60 * * * *",
        "* 24 * * *",
        "5-1 * * * *",
        "* * * *",
        "* * * * * * *",
        "@reboot",
        "",
        "\0 * * * *",
        "٣ * * * *",
        "1,2,3," * 5000,
        "* " * 5000,
        "9" * 10_000,
        "a b c d e",
        "__import__('os') * * * *",
    ],
)
def test_an_impossible_or_hostile_expression_is_refused_at_once_in_one_line(
    expression: str,
) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match="allowed") as refused:
        Cron(expression)
    assert time.process_time() - started < 0.5
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "zone",
    ["Mars/Olympus", "../../etc/passwd", "", "x" * 10_000, "Europe/\0Rome", "/etc/localtime"],
)
def test_a_zone_that_is_none_is_refused_in_one_line(zone: str) -> None:
    for make in (lambda: Cron("0 9 * * *", timezone=zone), lambda: Daily("09:00", timezone=zone)):
        with pytest.raises(ValueError, match="zone") as refused:
            make()
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 500


def test_a_misspelt_zone_is_met_with_the_one_that_was_meant() -> None:
    with pytest.raises(ValueError, match="Europe/Rome"):
        Cron("0 9 * * *", timezone="Europe/Roma")


@pytest.mark.parametrize("times", [(), ("9:00",), ("24:00",), ("09:60",), ("09:00 ",), ("",)])
def test_daily_refuses_what_is_no_time(times: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        Daily(*times)


@pytest.mark.parametrize(
    "parts", [{}, {"hours": 0}, {"hours": -1}, {"weeks": 10_000}, {"days": 1e300}]
)
def test_every_refuses_what_is_no_interval(parts: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="interval of Every"):
        Every(**parts)


def test_the_calendar_ends_with_an_error_not_with_a_hang() -> None:
    after = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    for schedule in SCHEDULES:
        with pytest.raises(ValueError, match="9999"):
            schedule.next_time(after)


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("0 9 * * MON", Cron("0 9 * * MON")),
        ("@hourly", Cron("@hourly")),
        ("every 1h30m", Every(hours=1, minutes=30)),
        ("EVERY 90s", Every(seconds=90)),
        ("daily 09:00,17:30", Daily("17:30", "09:00")),
    ],
)
def test_schedules_have_a_text_form(text: str, schedule: Schedule) -> None:
    assert parse_schedule(text) == schedule
    assert parse_schedule(schedule_text(schedule)) == schedule


class Monthly:
    """A schedule of a user's own."""

    def __repr__(self) -> str:
        return "Monthly()"

    def next_time(self, after: datetime) -> datetime:
        return after + timedelta(days=31)


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (Cron("0 9 * * MON", timezone="Europe/Rome"), "0 9 * * MON Europe/Rome"),
        (Daily("09:00", "17:30:05", timezone="Asia/Tokyo"), "daily 09:00,17:30:05 Asia/Tokyo"),
        (Monthly(), "Monthly()"),
    ],
)
def test_a_schedule_is_told_with_its_zone_or_by_its_own_words(
    schedule: Schedule, text: str
) -> None:
    assert schedule_text(schedule) == text


@pytest.mark.parametrize(
    "text", ["", "every", "every 0s", "daily", "daily noon", "tomorrow", "every 5"]
)
def test_a_text_that_is_no_schedule_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"allowed|must be|needs") as refused:
        parse_schedule(text)
    assert "\n" not in str(refused.value)


def test_a_schedule_of_ones_own_is_any_object_that_knows_a_next_time() -> None:
    class OnTheFirst:
        def next_time(self, after: datetime, /) -> datetime:
            return (after.replace(day=1) + timedelta(days=32)).replace(day=1)

    assert isinstance(OnTheFirst(), Schedule)
    assert [found.month for found in coming_times(OnTheFirst(), NOON, 3)] == [4, 5, 6]


def test_a_schedule_that_stands_still_is_caught() -> None:
    class Still:
        def next_time(self, after: datetime, /) -> datetime:
            return after

    with pytest.raises(ValueError, match="not later"):
        coming_times(Still(), NOON, 1)
