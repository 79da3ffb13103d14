"""Executions as a reader sees them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pgsched.domain.data import shown_json
from pgsched.domain.execution import Execution, FailedExecution, State, TaskInstance
from pgsched.store.operation import Operation, Query

if TYPE_CHECKING:
    from pgsched.store.operation import Row

COLUMNS = (
    "task_name",
    "task_instance",
    "task_data",
    "execution_time",
    "picked",
    "picked_by",
    "last_success",
    "last_failure",
    "consecutive_failures",
    "last_heartbeat",
    "version",
    "priority",
    "crashes",
    "state",
)
FAILED_COLUMNS = (*COLUMNS, "error", "traceback", "attempts", "failed_at")


def get(id: TaskInstance) -> Operation[Execution | None]:
    """The execution of a task instance, or None. A failed one is not looked for."""
    rows = yield _listing(task=id.task_name, instance=id.task_instance, state=None, limit=1)
    return Execution(**_fields(COLUMNS, rows[0])) if rows else None


def list_executions(
    *, task: str | None, state: State | None, limit: int | None
) -> Operation[list[Execution]]:
    """Executions by due time, then failed ones, newest first; `limit` None answers all of them."""
    found: list[Execution] = []
    if state is not State.FAILED:
        rows = yield _listing(task=task, instance=None, state=state, limit=limit)
        found = [Execution(**_fields(COLUMNS, row)) for row in rows]
    if state in {None, State.FAILED} and (limit is None or len(found) < limit):
        left = None if limit is None else limit - len(found)
        rows = yield Query("list_failed", {"task_name": task, "limit": left})
        found += [FailedExecution(**_fields(FAILED_COLUMNS, row)) for row in rows]
    return found


def _listing(
    *, task: str | None, instance: str | None, state: State | None, limit: int | None
) -> Query:
    parameters = {"task_name": task, "state": state.value if state else None, "limit": limit}
    if limit is None or instance is not None:
        return Query("list", {**parameters, "task_instance": instance})
    if state in {State.RETRYING, State.RUNNING}:
        return Query(f"list_{state.value}", parameters)
    return Query("list_front" if task is None else "list_front_of_task", parameters)


def _fields(columns: tuple[str, ...], row: Row) -> dict[str, Any]:
    fields: dict[str, Any] = {
        column: value.astimezone(UTC) if isinstance(value, datetime) else value
        for column, value in zip(columns, row, strict=True)
    }
    fields["task_data"] = None if fields["task_data"] is None else shown_json(fields["task_data"])
    fields["state"] = State(fields["state"])
    return fields
