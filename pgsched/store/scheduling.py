"""What clients do: schedule, reschedule, cancel. Each an operation; none commits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgsched.errors import ExecutionNotFound, ExecutionRunning
from pgsched.store.operation import Operation, Query, array, text_array

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from pgsched.domain.execution import NewExecution, TaskInstance
    from pgsched.store.statement import Names

CHUNK = 1000
"""Rows an insert: larger ones gain nothing (measured: 58,000/s at 1,000, 55,000/s at 10,000)."""


def schedule(
    names: Names,
    executions: Sequence[NewExecution],
    *,
    delay: timedelta | None = None,
    is_alone: bool = False,
) -> Operation[int]:
    """Insert those that are not there yet; answers how many were new.

    Their data is JSON text already. Those without a time are due after `delay`, or now. `is_alone` says that nothing
    else is in the transaction: it commits at once.
    """
    if len(executions) == 1:
        rows = yield _one(names, executions[0], delay=delay, is_alone=is_alone)
        return len(rows)
    added = 0
    for start in range(0, len(executions), CHUNK):
        [(count, _)] = yield _many(names, executions[start : start + CHUNK], delay=delay)
        added += count
    return added


def _one(names: Names, new: NewExecution, *, delay: timedelta | None, is_alone: bool) -> Query:
    return Query(
        "schedule_one",
        {
            "task_name": new.task,
            "task_instance": new.instance,
            "data": new.data,
            "at": new.at,
            "delay": delay,
            "priority": new.priority,
            "trace_context": new.trace_context,
            "is_alone": is_alone,
            "channel": names.channel,
        },
    )


def _many(names: Names, chunk: Sequence[NewExecution], *, delay: timedelta | None) -> Query:
    task_names, task_instances, data, ats, priorities, trace_contexts = zip(*chunk, strict=True)
    return Query(
        "schedule",
        {
            "task_names": text_array(task_names),
            "task_instances": text_array(task_instances),
            "data": _sparse(data) or text_array(data),
            "ats": _sparse(ats) or array(at and at.isoformat() for at in ats),
            "priorities": _sparse(priorities)
            or array(None if priority is None else str(priority) for priority in priorities),
            "trace_contexts": _sparse(trace_contexts) or array(trace_contexts),
            "delay": delay,
            "channel": names.channel,
        },
    )


def _sparse(values: tuple[object, ...]) -> str | None:
    """What stands for an array of nothing but nulls: `unnest` fills up the shorter ones."""
    return "{}" if values.count(None) == len(values) else None


def reschedule(
    names: Names, id: TaskInstance, *, when: datetime | timedelta | None, changes: dict[str, Any]
) -> Operation[None]:
    """Change the time (`when`, unless None), and the data (JSON text) and priority named in `changes`.

    Raises: ExecutionNotFound, ExecutionRunning.
    """
    from datetime import timedelta

    is_delay = isinstance(when, timedelta)
    [(changed, is_there, _)] = yield Query(
        "reschedule",
        {
            **id._asdict(),
            "at": None if is_delay else when,
            "delay": when if is_delay else None,
            "has_data": "data" in changes,
            "data": changes.get("data"),
            "has_priority": "priority" in changes,
            "priority": changes.get("priority"),
            "channel": names.channel,
        },
    )
    _check_done(id, changed, is_there=is_there)


def cancel(id: TaskInstance) -> Operation[None]:
    """Delete an execution that isn't running. Raises: ExecutionNotFound, ExecutionRunning."""
    [(deleted, is_there)] = yield Query("cancel", id._asdict())
    _check_done(id, deleted, is_there=is_there)


def _check_done(id: TaskInstance, done: int, *, is_there: bool) -> None:
    """Nothing was done: it isn't there, or it is running, or was picked in this very moment."""
    if done:
        return
    raise ExecutionRunning(*id) if is_there else ExecutionNotFound(*id)
