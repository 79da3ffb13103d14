"""Client and AsyncClient: schedule, change and look at executions, from any program.

Two thin drivers over the store's operations. With the caller's own connection everything happens in the caller's
transaction, and psycopg's errors come through as they are; with a conninfo or a pool each call is a transaction of
its own. Never starts, commits or ends a transaction of the caller's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from pgsched.domain.data import to_json
from pgsched.domain.execution import NewExecution, State, TaskInstance
from pgsched.domain.request import (
    checked_delay,
    checked_priority,
    checked_time,
    chosen_delay,
    known_name,
    name_of,
    new_execution,
)
from pgsched.errors import InvalidData
from pgsched.store import failed, reading, scheduling
from pgsched.store.operation import Operation, drive_by, drive_by_async
from pgsched.store.source import async_source_of, source_of
from pgsched.store.statement import Names
from pgsched.tracing import scheduling as traced_scheduling

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    import psycopg
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

    from pgsched.domain.execution import Execution
    from pgsched.domain.task import AnyTask

T = TypeVar("T")
Wanted: TypeAlias = "NewExecution | tuple[str | AnyTask, str] | tuple[str | AnyTask, str, Any]"


class Unchanged:
    """The type of `UNCHANGED`: what `reschedule` is not given, as None is a value of its own."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED = Unchanged()


class Client:
    """Schedules from synchronous code. Usable as a context manager, and by several threads at once.

    `target` is a conninfo string, a psycopg_pool.ConnectionPool, or a psycopg connection of the caller's own.
    Every call raises DatabaseUnavailable (SchemaMismatch among them) where `target` is not the caller's connection.
    """

    def __init__(
        self,
        target: str | psycopg.Connection[Any] | ConnectionPool[Any],
        *,
        table: str = "scheduled_tasks",
        schema: str | None = None,
    ) -> None:
        self._names = Names(table, schema)
        self._source = source_of(target)

    def schedule(
        self,
        task: str | AnyTask,
        instance: str,
        data: object = None,
        *,
        at: datetime | None = None,
        in_: timedelta | None = None,
        priority: int | None = None,
    ) -> bool:
        """Schedule one execution, due `at` an instant, `in_` a while, or now. Never overwrites.

        Answers False where the instance is already there. Raises: InvalidData (a ValueError).
        """
        wanted = new_execution(task, instance, data, at=at, priority=priority)
        delay, is_alone = chosen_delay(at, in_), self._source.is_alone
        with traced_scheduling([wanted], is_batch=False) as traced:
            operation = scheduling.schedule(self._names, traced, delay=delay, is_alone=is_alone)
            return self._run(operation) == 1

    def schedule_many(
        self,
        executions: Iterable[Wanted],
        *,
        at: datetime | None = None,
        in_: timedelta | None = None,
        priority: int | None = None,
    ) -> int:
        """Schedule all of them in one transaction; answers how many were new.

        `at`, `in_` and `priority` stand in for what an execution leaves open. Raises: InvalidData (a ValueError).
        """
        wanted = [_wanted(execution, at=at, priority=priority) for execution in executions]
        delay = chosen_delay(at, in_)
        with traced_scheduling(wanted, is_batch=True) as traced:
            operation = scheduling.schedule(self._names, traced, delay=delay)
            return self._run(operation, is_atomic=len(wanted) > scheduling.CHUNK)

    def reschedule(
        self,
        task: str | AnyTask,
        instance: str,
        *,
        at: datetime | Unchanged = UNCHANGED,
        in_: timedelta | None = None,
        data: object = UNCHANGED,
        priority: int | Unchanged | None = UNCHANGED,
    ) -> None:
        """Change what is given and nothing else: failure counts, history, and data not given stay.

        Raises: ExecutionNotFound, ExecutionRunning, InvalidData (a ValueError).
        """
        self._run(_reschedule(self._names, _id(task, instance), at, in_, data, priority))

    def cancel(self, task: str | AnyTask, instance: str) -> None:
        """Delete an execution that isn't running. Raises: ExecutionNotFound, ExecutionRunning."""
        self._run(scheduling.cancel(_id(task, instance)))

    def retry(self, task: str | AnyTask, instance: str) -> None:
        """Put the newest failed execution of an instance back, due now, with all counts anew.

        Raises: ExecutionNotFound; ExecutionExists where the instance has been scheduled again meanwhile.
        """
        self._run(failed.retry(self._names, _id(task, instance)))

    def discard(self, task: str | AnyTask, instance: str) -> None:
        """Delete the newest failed execution of an instance. Raises: ExecutionNotFound."""
        self._run(failed.discard(_id(task, instance)))

    def get(self, task: str | AnyTask, instance: str) -> Execution | None:
        """The execution of a task instance, or None where there is none."""
        return self._run(reading.get(_id(task, instance)))

    def list(
        self,
        *,
        task: str | AnyTask | None = None,
        state: State | str | None = None,
        limit: int | None = None,
    ) -> list[Execution]:
        """Executions by due time, then failed ones (FailedExecution). Raises: ValueError for an unknown state."""
        return self._run(_listing(task, state, limit))

    def close(self) -> None:
        """Close a connection that the client opened itself; not a pool's or the caller's."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, operation: Operation[T], *, is_atomic: bool = False) -> T:
        with self._source.lent() as cursor:
            return drive_by(cursor, self._names, operation, is_atomic=is_atomic)


class AsyncClient:
    """As `Client`, for asyncio: each method is a coroutine, `target` an async pool or connection, or a conninfo."""

    def __init__(
        self,
        target: str | psycopg.AsyncConnection[Any] | AsyncConnectionPool[Any],
        *,
        table: str = "scheduled_tasks",
        schema: str | None = None,
    ) -> None:
        self._names = Names(table, schema)
        self._source = async_source_of(target)

    async def schedule(
        self,
        task: str | AnyTask,
        instance: str,
        data: object = None,
        *,
        at: datetime | None = None,
        in_: timedelta | None = None,
        priority: int | None = None,
    ) -> bool:
        """See `Client.schedule`."""
        wanted = new_execution(task, instance, data, at=at, priority=priority)
        delay, is_alone = chosen_delay(at, in_), self._source.is_alone
        with traced_scheduling([wanted], is_batch=False) as traced:
            operation = scheduling.schedule(self._names, traced, delay=delay, is_alone=is_alone)
            return await self._run(operation) == 1

    async def schedule_many(
        self,
        executions: Iterable[Wanted],
        *,
        at: datetime | None = None,
        in_: timedelta | None = None,
        priority: int | None = None,
    ) -> int:
        """See `Client.schedule_many`."""
        wanted = [_wanted(execution, at=at, priority=priority) for execution in executions]
        delay = chosen_delay(at, in_)
        with traced_scheduling(wanted, is_batch=True) as traced:
            operation = scheduling.schedule(self._names, traced, delay=delay)
            return await self._run(operation, is_atomic=len(wanted) > scheduling.CHUNK)

    async def reschedule(
        self,
        task: str | AnyTask,
        instance: str,
        *,
        at: datetime | Unchanged = UNCHANGED,
        in_: timedelta | None = None,
        data: object = UNCHANGED,
        priority: int | Unchanged | None = UNCHANGED,
    ) -> None:
        """See `Client.reschedule`."""
        await self._run(_reschedule(self._names, _id(task, instance), at, in_, data, priority))

    async def cancel(self, task: str | AnyTask, instance: str) -> None:
        """See `Client.cancel`."""
        await self._run(scheduling.cancel(_id(task, instance)))

    async def retry(self, task: str | AnyTask, instance: str) -> None:
        """See `Client.retry`."""
        await self._run(failed.retry(self._names, _id(task, instance)))

    async def discard(self, task: str | AnyTask, instance: str) -> None:
        """See `Client.discard`."""
        await self._run(failed.discard(_id(task, instance)))

    async def get(self, task: str | AnyTask, instance: str) -> Execution | None:
        """See `Client.get`."""
        return await self._run(reading.get(_id(task, instance)))

    async def list(
        self,
        *,
        task: str | AnyTask | None = None,
        state: State | str | None = None,
        limit: int | None = None,
    ) -> list[Execution]:
        """See `Client.list`."""
        return await self._run(_listing(task, state, limit))

    async def close(self) -> None:
        """See `Client.close`."""
        await self._source.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, operation: Operation[T], *, is_atomic: bool = False) -> T:
        async with self._source.lent() as cursor:
            return await drive_by_async(cursor, self._names, operation, is_atomic=is_atomic)


# What both clients make of their arguments


def _id(task: str | AnyTask, instance: str) -> TaskInstance:
    return TaskInstance(
        known_name("the task name", name_of(task)), known_name("the task instance", instance)
    )


def _wanted(execution: Wanted, *, at: datetime | None, priority: int | None) -> NewExecution:
    if not isinstance(execution, tuple) or len(execution) < 2:
        raise InvalidData(
            f"{execution!r:.60} is no execution; allowed: (task, instance), (task, instance, data) or NewExecution"
        )
    if not isinstance(execution, NewExecution):
        execution = NewExecution(*execution)
    task, instance, data, its_at, its_priority, trace_context = execution
    return new_execution(
        task,
        instance,
        data,
        at=at if its_at is None else its_at,
        priority=priority if its_priority is None else its_priority,
        trace_context=trace_context,
    )


def _reschedule(
    names: Names,
    id: TaskInstance,
    at: datetime | Unchanged,
    in_: timedelta | None,
    data: object,
    priority: int | Unchanged | None,
) -> Operation[None]:
    changes: dict[str, Any] = {}
    if data is not UNCHANGED:
        changes["data"] = to_json(data)
    if not isinstance(priority, Unchanged):
        changes["priority"] = checked_priority(priority)
    if isinstance(at, Unchanged):
        when: datetime | timedelta | None = checked_delay(in_)
    elif in_ is not None:
        raise InvalidData("give either at or in_, not both")
    elif (when := checked_time(at)) is None:
        raise InvalidData("at must be a datetime; leave it out to keep the time")
    return scheduling.reschedule(names, id, when=when, changes=changes)


def _listing(
    task: str | AnyTask | None, state: State | str | None, limit: int | None
) -> Operation[list[Execution]]:
    name = None if task is None else known_name("the task name", name_of(task))
    return reading.list_executions(
        task=name, state=None if state is None else State(state), limit=limit
    )
