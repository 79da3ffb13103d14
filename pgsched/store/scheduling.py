"""What clients do: schedule, reschedule, cancel. Each an operation; none commits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgsched.errors import ExecutionNotFound, ExecutionRunning
from pgsched.store.operation import Operation, Query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from pgsched.domain.execution import NewExecution, TaskInstance
    from pgsched.store.statement import Names

CHUNK = 1000
"""Rows an insert: larger ones gain nothing (measured: 58,000/s at 1,000, 55,000/s at 10,000)."""


def schedule(
    names: Names, executions: Sequence[NewExecution], *, delay: timedelta | None = None
) -> Operation[int]:
    """Insert those that are not there yet; answers how many were new.

    Their data is JSON text already. Those without a time are due after `delay`, or now.
    """
    added = 0
    for start in range(0, len(executions), CHUNK):
        chunk = executions[start : start + CHUNK]
        [(count, _)] = yield Query(
            "schedule",
            {
                "task_names": [execution.task for execution in chunk],
                "task_instances": [execution.instance for execution in chunk],
                "data": [execution.data for execution in chunk],
                "ats": [execution.at for execution in chunk],
                "priorities": [execution.priority for execution in chunk],
                "delay": delay,
                "channel": names.channel,
            },
        )
        added += count
    return added


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
