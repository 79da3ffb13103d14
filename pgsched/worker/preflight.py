"""Before the first poller: is the database there, is its schema ours, are the recurring tasks scheduled?

Runs in a process of its own, since the supervisor must never hold a connection; tells it what is wrong as one JSON
object on a pipe, nothing where all is well.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pgsched.domain.execution import RECURRING_INSTANCE, NewExecution, TaskInstance
from pgsched.domain.instant import iso
from pgsched.domain.request import new_execution
from pgsched.errors import (
    ConfigError,
    DatabaseUnavailable,
    RowsLocked,
    SchemaMismatch,
    TaskModuleError,
)
from pgsched.log import Event, Logger
from pgsched.store.connecting import connection, translated
from pgsched.store.migrating import check, needed_version
from pgsched.store.operation import Query, drive
from pgsched.store.picking import database_now
from pgsched.store.pooling import is_pooled, loses_session
from pgsched.store.reading import get
from pgsched.store.scheduling import schedule
from pgsched.store.statement import statements
from pgsched.worker.process import EXIT_OK, Pipe, fork

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import datetime

    from psycopg import Connection

    from pgsched.domain.task import AnyTask
    from pgsched.store.operation import Operation
    from pgsched.worker.plan import Plan

LIMITS = {"lock_timeout": "20s", "statement_timeout": "30s"}
"""Of each statement: a reload that waits for somebody's lock is refused for that, well before its time is over."""


def preflight(plan: Plan) -> None:
    """Raises: DatabaseUnavailable, SchemaMismatch, TaskModuleError (a schedule that can't say its first time)."""
    # Before the first fork: what is forked when another release lies in its place must not read that one's.
    statements(plan.database.names)
    needed_version()
    found = Pipe(*os.pipe())
    parent = os.getpid()
    pid = fork("pgsched: preflight", lambda: _child(plan, found, parent), closing=(found.reading,))
    os.close(found.writing)
    with os.fdopen(found.reading, encoding="utf-8") as reading:
        told = reading.read()
    _, status = os.waitpid(pid, 0)
    if told:
        raise _error(plan, json.loads(told))
    if status:
        raise DatabaseUnavailable("the preflight process died before it could tell why")


def _child(plan: Plan, found: Pipe, parent: int) -> int:
    problem: dict[str, Any] | None = None
    try:
        _check_and_schedule(plan, parent)
    except SchemaMismatch as error:
        problem = {"kind": "schema", "found": error.found, "needed": error.needed}
    except DatabaseUnavailable as error:
        problem = {"kind": "database", "reason": error.reason}
    except TaskModuleError as error:
        problem = {"kind": "module", "module": error.module, "problem": error.told}
    except ConfigError as error:
        problem = {
            "kind": "config",
            "problem": error.problem,
            "key": error.key,
            "allowed": error.allowed,
        }
    if problem:
        os.write(found.writing, json.dumps(problem).encode())
    return EXIT_OK


def _error(plan: Plan, problem: dict[str, Any]) -> Exception:
    match problem["kind"]:
        case "schema":
            table = plan.database.names.table
            return SchemaMismatch(table, found=problem["found"], needed=problem["needed"])
        case "module":
            return TaskModuleError(problem["module"], problem["problem"])
        case "config":
            return ConfigError(problem["problem"], key=problem["key"], allowed=problem["allowed"])
        case _:
            return DatabaseUnavailable(problem["reason"])


def _check_and_schedule(plan: Plan, parent: int) -> None:
    names = plan.database.names
    with connection(plan.database.conninfo) as opened:
        _check_pooler(plan, opened)
        with _wanted(plan, opened, parent):
            check(opened, table=names.table, schema=names.schema)
            now = drive(opened, names, database_now(), is_atomic=False)
        for task in plan.tasks.values():
            if task.schedule is None:
                continue
            first = new_execution(task, RECURRING_INSTANCE, at=_first_time(task, now))
            with _wanted(plan, opened, parent):
                is_new = _schedule(plan, opened, first)
            if is_new:
                _tell_scheduled(first)
            else:
                _tell_due_later(plan, opened, task, now)


@contextmanager
def _wanted(plan: Plan, opened: Connection[Any], parent: int) -> Generator[None]:
    """A transaction that waits so long at most, and is undone where nobody is left who wants it: a reload that was
    refused has been killed, and its code schedules nothing.
    """
    names = plan.database.names
    try:
        with translated(), opened.transaction():
            drive(opened, names, _set_limits(), is_atomic=False)
            yield
            if os.getppid() != parent:
                os._exit(EXIT_OK)
    except RowsLocked:
        raise DatabaseUnavailable(
            f"somebody has locked table {names.table!r} for longer than {LIMITS['lock_timeout']}: "
            "`pgsched doctor` says who"
        ) from None


def _set_limits() -> Operation[None]:
    yield Query("set_for_transaction", {"names": [*LIMITS], "values": [*LIMITS.values()]})


def _check_pooler(plan: Plan, opened: Connection[Any]) -> None:
    """Raises: ConfigError where a session would be lost that a worker counts on."""
    if plan.database.is_pooled:
        if not is_pooled(opened):
            Logger().warning(Event.POOLER_NOT_FOUND)
    elif loses_session(opened):
        raise ConfigError(
            "the DSN leads through a pooler in transaction mode, which gives each transaction another session",
            key="database.pooler",
            allowed="transaction, or a DSN that leads to Postgres itself or through a pooler in session mode",
        )


def _schedule(plan: Plan, opened: Connection[Any], first: NewExecution) -> bool:
    names = plan.database.names
    return drive(opened, names, schedule(names, [first]), is_atomic=False) == 1


def _tell_scheduled(first: NewExecution) -> None:
    assert first.at is not None
    at = iso(first.at)
    Logger().info(Event.TASK_SCHEDULED, task=first.task, instance=first.instance, at=at)


def _tell_due_later(plan: Plan, opened: Any, task: AnyTask, now: datetime) -> None:
    """The row is never moved: workers of two versions would move it to and fro, and undo what a person put off."""
    assert task.schedule is not None
    default = TaskInstance(task.name, RECURRING_INSTANCE)
    found = drive(opened, plan.database.names, get(default), is_atomic=False)
    if found is None or found.picked or found.consecutive_failures:
        return
    try:
        next_time = task.schedule.next_time(now)
    except Exception:  # noqa: BLE001 the user's schedule: told when it is used
        return
    if found.execution_time > next_time:
        at, by_schedule = iso(found.execution_time), iso(next_time)
        Logger().warning(Event.TASK_DUE_LATER, task=task.name, at=at, by_schedule=by_schedule)


def _first_time(task: AnyTask, now: datetime) -> datetime:
    """A schedule may say when its first run is (`Every`: at once); otherwise it is its next time from now."""
    assert task.schedule is not None
    first_time = getattr(task.schedule, "first_time", task.schedule.next_time)
    try:
        return first_time(now)
    except Exception as error:  # the user's schedule
        module = task.function.__module__
        raise TaskModuleError(
            module, f"the schedule of task {task.name!r} failed: {error}"
        ) from error
