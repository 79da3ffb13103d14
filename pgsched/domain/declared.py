"""What a task declares, in words. Pure: runs nothing of the task but its schedule."""

from __future__ import annotations

import dataclasses
import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from pgsched.domain.duration import LONGEST_DURATION, format_duration
from pgsched.domain.schedule import coming_times, schedule_text
from pgsched.domain.task import data_annotation
from pgsched.domain.text import cut
from pgsched.errors import TaskModuleError

if TYPE_CHECKING:
    from datetime import datetime

    from pgsched.domain.failure import FailureHandler
    from pgsched.domain.task import AnyTask

LONGEST = 120


class Declared(NamedTuple):
    """A task, field by field; None where it says nothing. `next_run` is what the schedule says, as if it ran now."""

    task: str
    kind: str
    schedule: str | None
    next_run: datetime | None
    on_failure: str | None
    timeout: str | None
    isolation: str
    on_out_of_touch: str
    is_async: bool
    function: str
    data: str | None


def declared(task: AnyTask, now: datetime) -> Declared:
    """Raises: TaskModuleError where its schedule can't say when it runs next."""
    annotation = data_annotation(task)
    return Declared(
        task=task.name,
        kind="one-time" if task.schedule is None else "recurring",
        schedule=None if task.schedule is None else schedule_text(task.schedule),
        next_run=_next_run(task, now),
        on_failure=None if task.on_failure is None else _handler(task.on_failure),
        timeout=None if task.timeout is None else _value(task.timeout),
        isolation="process" if task.needs_process else "thread",
        on_out_of_touch=task.on_out_of_touch,
        is_async=task.is_async,
        function=_place(task.function),
        data=None if annotation is None else inspect.formatannotation(annotation),
    )


def _next_run(task: AnyTask, now: datetime) -> datetime | None:
    if task.schedule is None:
        return None
    try:
        return coming_times(task.schedule, now, 1)[0]
    except Exception as error:  # the user's schedule
        problem = f"the schedule of task {task.name!r} failed: {error}"
        raise TaskModuleError(task.function.__module__, problem) from error


def _handler(handler: FailureHandler) -> str:
    """As it was written: with what isn't the default."""
    if not dataclasses.is_dataclass(handler) or isinstance(handler, type):
        return _place(handler)
    given = [
        f"{field.name}={_value(value)}"
        for field in dataclasses.fields(handler)
        if (value := getattr(handler, field.name)) != field.default
    ]
    return cut(f"{type(handler).__name__}({', '.join(given)})", LONGEST)


def _value(value: object) -> str:
    if isinstance(value, timedelta) and timedelta(0) <= value <= LONGEST_DURATION:
        return format_duration(value)
    return repr(value)


def _place(function: Any) -> str:
    """`module:function`; of an object that is called, its class."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"
