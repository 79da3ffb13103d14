"""What somebody asks to be scheduled, checked before anything is sent."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pgsched.domain.data import to_json
from pgsched.domain.execution import NAME_LIMIT_BYTES, NewExecution
from pgsched.errors import InvalidData

if TYPE_CHECKING:
    from pgsched.domain.task import AnyTask

PRIORITIES = range(-(2**31), 2**31)
TRACE_CONTEXT = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
LONGEST_WAIT = timedelta(days=366 * 1000)


def new_execution(
    task: str | AnyTask,
    instance: str,
    data: object = None,
    *,
    at: datetime | None = None,
    priority: int | None = None,
    trace_context: str | None = None,
) -> NewExecution:
    """A checked execution whose `data` is JSON text. Raises: InvalidData (a ValueError)."""
    return NewExecution(
        checked_name("the task name", name_of(task)),
        checked_name("the task instance", instance),
        to_json(data),
        checked_time(at),
        checked_priority(priority),
        checked_trace_context(trace_context),
    )


def name_of(task: str | AnyTask) -> str:
    """The name of a task given as itself or by name."""
    return task if isinstance(task, str) else task.name


def checked_name(what: str, name: object) -> str:
    """A task name or instance to schedule. Raises: InvalidData."""
    if (
        type(name) is str
        and name.isascii()
        and 0 < len(name) <= NAME_LIMIT_BYTES
        and "\0" not in name
    ):
        return name  # nearly all of them: a fifth of what the checks below take
    size_bytes = len(known_name(what, name).encode("utf-8"))
    if size_bytes > NAME_LIMIT_BYTES:
        raise InvalidData(f"{what} is {size_bytes} bytes long; allowed: up to {NAME_LIMIT_BYTES}")
    return str.__str__(name)  # `str(name)` of a member of an Enum is what it is called


def known_name(what: str, name: object) -> str:
    """A task name or instance that may be in the table: other programs have their own limits. Raises: InvalidData."""
    if not isinstance(name, str):
        raise InvalidData(f"{what} must be text, not {name!r:.60}")
    if not name:
        raise InvalidData(f"{what} is empty")
    if "\0" in name:
        raise InvalidData(f"{what} holds a NUL character")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidData(f"{what} holds a lone surrogate") from None
    return name


def checked_time(at: datetime | None) -> datetime | None:
    """An instant in UTC, as a plain datetime: no loop of ours, and no pickle, is to meet a class of the user's own.

    Raises: InvalidData for a time without a zone, which would mean another instant elsewhere.
    """
    if at is None:
        return None
    if not isinstance(at, datetime):
        raise InvalidData(f"a time must be a datetime, not {at!r:.60}")
    if at.tzinfo is None or at.utcoffset() is None:
        raise InvalidData(f"the time {at.isoformat()} has no zone; allowed: an aware datetime")
    try:
        utc = at.astimezone(UTC)
    except OverflowError:
        raise InvalidData(f"the time {at.isoformat()} is out of range in UTC") from None
    return utc if type(utc) is datetime else datetime.fromisoformat(datetime.isoformat(utc))


def chosen_delay(at: datetime | None, in_: timedelta | None) -> timedelta | None:
    """The wait, if one is given rather than a time. Raises: InvalidData where both are, or for an impossible wait."""
    if at is not None and in_ is not None:
        raise InvalidData("give either at or in_, not both")
    return checked_delay(in_)


def checked_delay(delay: timedelta | None) -> timedelta | None:
    """A wait from now. Raises: InvalidData for a negative one, or one beyond a thousand years."""
    if delay is None:
        return None
    if not isinstance(delay, timedelta):
        raise InvalidData(f"in_ must be a timedelta, not {delay!r:.60}")
    if not timedelta(0) <= delay <= LONGEST_WAIT:
        raise InvalidData(f"in_ must be from 0 to 1,000 years, not {delay}")
    return delay


def checked_priority(priority: int | None) -> int | None:
    """A priority that the column holds, as a plain number. Raises: InvalidData."""
    if priority is None:
        return None
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise InvalidData(f"a priority must be a whole number, not {priority!r:.60}")
    priority = int(
        priority
    )  # of an IntEnum a range would be searched number by number, for a minute
    if priority not in PRIORITIES:
        raise InvalidData(f"a priority must be from {PRIORITIES[0]} to {PRIORITIES[-1]}")
    return priority


def checked_trace_context(trace_context: str | None) -> str | None:
    """A W3C traceparent. Raises: InvalidData."""
    if trace_context is None:
        return None
    if not isinstance(trace_context, str) or not TRACE_CONTEXT.fullmatch(trace_context):
        raise InvalidData(
            f"{trace_context!r:.60} is no trace context; allowed: a W3C traceparent, 00-…-…-01"
        )
    return trace_context
