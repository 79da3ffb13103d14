"""What somebody asks to be scheduled is checked before anything is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, IntEnum
from typing import Any

import pytest

from pgsched import InvalidData, one_time
from pgsched.domain.request import checked_delay, new_execution

TOKYO = timezone(timedelta(hours=9))


@one_time("a-task")
def a_task() -> None: ...


def test_a_task_is_named_by_itself_or_its_name() -> None:
    assert new_execution(a_task, "i").task == new_execution("a-task", "i").task == "a-task"


def test_times_are_brought_to_utc() -> None:
    at = new_execution("t", "i", at=datetime(2027, 1, 1, 9, tzinfo=TOKYO)).at
    assert at == datetime(2027, 1, 1, tzinfo=UTC)
    assert at is not None
    assert at.tzinfo is UTC


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 1001, "ü" * 501, 5, None])
def test_names_that_can_not_be_stored_are_refused(name: Any) -> None:
    with pytest.raises(InvalidData, match="task instance"):
        new_execution("t", name)
    if name is not None and not isinstance(name, int):
        with pytest.raises(InvalidData, match="task name"):
            new_execution(name, "i")


class Name(str, Enum):  # noqa: UP042 as written before there was StrEnum, and whose `str` is something else
    MAIL = "send-mail"


def test_a_name_that_is_a_member_of_an_enum_is_its_value() -> None:
    """Without, it was `Name.MAIL`, which no worker runs."""
    execution = new_execution(Name.MAIL, Name.MAIL)
    assert (execution.task, execution.instance) == ("send-mail", "send-mail")
    assert type(execution.task) is type(execution.instance) is str


def test_names_may_be_long_and_strange() -> None:
    assert new_execution("ü" * 500, "-\n\x1b[31m").instance == "-\n\x1b[31m"


@pytest.mark.parametrize(
    "at",
    [
        datetime(2027, 1, 1),
        "2027-01-01",
        datetime.min.replace(tzinfo=TOKYO),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=9))),
    ],
)
def test_times_that_are_no_instant_are_refused(at: Any) -> None:
    with pytest.raises(InvalidData, match="time"):
        new_execution("t", "i", at=at)


@pytest.mark.parametrize("priority", [2**31, -(2**31) - 1, "high", 1.5, True])
def test_priorities_that_the_column_can_not_hold_are_refused(priority: Any) -> None:
    with pytest.raises(InvalidData, match="priority"):
        new_execution("t", "i", priority=priority)


@pytest.mark.parametrize("delay", [timedelta(seconds=-1), timedelta.max, 5])
def test_delays_that_are_none_are_refused(delay: Any) -> None:
    with pytest.raises(InvalidData, match="in_"):
        checked_delay(delay)


class Priority(IntEnum):
    HIGH = 2**31 - 1
    BEYOND = 2**31


def test_a_priority_of_an_own_class_is_a_number() -> None:
    """Before it was made one it was looked for in a range of four thousand million, one by one."""
    execution = new_execution("t", "a", priority=Priority.HIGH)
    assert type(execution.priority) is int
    assert execution.priority == Priority.HIGH
    with pytest.raises(InvalidData, match="a priority must be from"):
        new_execution("t", "a", priority=Priority.BEYOND)
