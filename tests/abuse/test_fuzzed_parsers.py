"""Every parser, given anything: a value or its one documented error, in one line, and the same again from its text."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgsched.cli.arguments import instant_of, strict_json
from pgsched.cli.load.rows import Defaults, row_of
from pgsched.domain.data import reader_of, shown_json, to_json
from pgsched.domain.duration import format_duration, parse_duration
from pgsched.domain.outcome import error_line
from pgsched.domain.request import new_execution
from pgsched.domain.schedule import Cron, coming_times, parse_schedule
from pgsched.domain.schedule.zone import zone
from pgsched.domain.text import printable, printable_json
from pgsched.errors import InvalidData
from pgsched.store.listening import Hint

NOW = datetime(2027, 1, 1, tzinfo=UTC)
anything = st.text(alphabet=st.characters(codec=None), max_size=40)


def pieces(*words: str) -> st.SearchStrategy[str]:
    """Texts that are nearly right get further into a parser than noise does."""
    return (
        st.lists(st.sampled_from(words) | st.text(max_size=1), max_size=14).map("".join) | anything
    )


CRON = pieces(
    *(
        " ",
        "*",
        "/",
        "-",
        ",",
        "#",
        "L",
        "W",
        "?",
        "@daily",
        "@reboot",
        "MON",
        "JAN",
        "SUN-SAT",
        "0 0 * * ",
    ),
    *(
        "0",
        "1",
        "5",
        "29 2",
        "30",
        "31",
        "59",
        "60",
        "99999999999",
        "1-5",
        "*/15",
        "every ",
        "daily ",
        "09:00",
    ),
    *("1h30m", "24:00", "\t", "\n", "٣"),
)
ZONES = pieces(
    *(
        "Europe",
        "/",
        "Rome",
        "UTC",
        "..",
        ".",
        "posix/",
        "localtime",
        "tzdata.zi",
        "zone.tab",
        "\0",
        "~",
        "Etc/GMT+",
    ),
)
DURATIONS = pieces("1", "2.5", "w", "d", "h", "m", "s", "ms", " ", "-", "e", "9" * 40, "٣")
TIMES = pieces(
    *(
        "2027",
        "0001",
        "9999",
        "-",
        "01",
        "12",
        "31",
        "T",
        " ",
        "24",
        "00",
        ":",
        ".",
        "000001",
        "Z",
        "z",
        "W01",
    ),
    *("+00:00", "-23:59", "+24:00", "+00:00:00.000001", "٣"),
)
JSON = pieces(
    *(
        "{",
        "}",
        "[",
        "]",
        '"',
        ":",
        ",",
        "1",
        "-",
        "1e999",
        "NaN",
        "Infinity",
        "null",
        "true",
        '"task"',
        '"a"',
    ),
    *(
        '"instance"',
        '"in"',
        '"at"',
        '"data"',
        '"priority"',
        "\\u0000",
        "\\ud800",
        "\\",
        "9" * 5000,
        "[" * 2000,
    ),
)


def one_line_of(refused: BaseException) -> None:
    assert len(str(refused).splitlines()) == 1
    assert len(str(refused)) < 1000


@given(CRON, ZONES | st.just("Europe/Rome"))
@example("* * 31 2 *", "UTC")
@example("0 0 29 2 MON#5", "UTC")
@example("*/0 * * * *", "UTC")
@example("daily " + "09:00," * 5000, "UTC")
def test_a_schedule_is_one_or_a_value_error(text: str, timezone: str) -> None:
    try:
        schedule = parse_schedule(text, timezone)
    except ValueError as refused:
        one_line_of(refused)
        return
    first, second = coming_times(schedule, NOW, 2)
    assert NOW < first < second
    if isinstance(schedule, Cron):
        assert parse_schedule(schedule.expression, timezone) == schedule


@given(ZONES)
@example("../../../../../../etc/passwd")
@example("/etc/passwd")
@example("Europe/Rome/" * 1000)
@example("Europe")
@example("")
def test_a_zone_is_one_of_its_name_or_a_value_error(key: str) -> None:
    try:
        found = zone(key)
    except ValueError as refused:
        one_line_of(refused)
    else:
        assert found.key == key


@given(DURATIONS)
def test_a_duration_is_one_or_a_value_error(text: str) -> None:
    try:
        length = parse_duration(text)
    except ValueError as refused:
        one_line_of(refused)
        return
    assert timedelta(0) <= length <= timedelta(days=36_525)
    assert parse_duration(format_duration(length)) == length


@given(TIMES)
@example("9" * 100_000)
@example("0001-01-01T00:00:00+14:00")
@example("9999-12-31T23:59:59-14:00")
def test_an_instant_is_one_or_a_value_error(text: str) -> None:
    try:
        instant = instant_of(text)
    except ValueError as refused:
        one_line_of(refused)
        return
    assert instant_of(instant.isoformat()) == instant
    with suppress(InvalidData):  # it is none in UTC
        assert new_execution("a", "b", at=instant).at == instant


@given(JSON)
def test_json_is_some_or_a_value_error_and_can_be_sent_and_shown(text: str) -> None:
    try:
        data = strict_json(text)
        sent = to_json(data)
    except ValueError:
        return
    if sent is not None:
        assert shown_json(sent) == data


@given(JSON | JSON.map('{{"task": "a", "instance": "b", {}}}'.format))
def test_a_line_of_a_file_is_a_row_or_invalid(line: str) -> None:
    try:
        row = row_of(1, line.encode("utf-8", "surrogatepass"), Defaults())
    except InvalidData as refused:
        one_line_of(refused)
    else:
        assert row.execution.task


@given(JSON)
@pytest.mark.parametrize(
    "annotation", [Any, dict, list, str, int, dict[str, int], list[str] | None]
)
def test_what_a_task_takes_is_read_or_refused(annotation: Any, text: str) -> None:
    with suppress(ValueError, RecursionError):  # a failure of that run
        reader_of(annotation)(text)


@given(anything, anything, st.integers() | anything | st.floats())
def test_an_execution_is_one_or_invalid(task: str, instance: str, priority: Any) -> None:
    try:
        execution = new_execution(task, instance, priority=priority)
    except InvalidData as refused:
        one_line_of(refused)
    else:
        assert (execution.task, execution.instance) == (task, instance)


@given(pieces("1", "-", ".", " ", "9" * 12, "nan", "inf", "e5", "٣"))
def test_a_notification_is_a_hint_whatever_it_says(payload: str) -> None:
    assert not math.isnan(Hint.read(payload).due)  # which sorts nowhere


@given(st.text(alphabet=st.characters(codec=None)))
def test_what_is_shown_is_printable_and_still_json(text: str) -> None:
    assert printable(text).isprintable()
    shown = printable_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(shown) == text
    assert "\x9b" not in shown
    line = error_line(ValueError(text))
    assert "\n" not in line
    assert "\0" not in line
    line.encode()
