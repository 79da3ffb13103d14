"""A task's own work and the completion of its execution in one transaction: both or neither.

The completion is the last statement before the commit, and fenced like every other: where the worker has lost the
execution it changes no row, and the whole transaction is rolled back.
Source of the idea: River completes a job in a transaction of the caller's; the fence inside it is ours.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg.pq import TransactionStatus

from pgsched.errors import ExecutionLost
from pgsched.store.completing import Receipt, complete
from pgsched.store.connecting import connect_task, connect_task_async
from pgsched.store.operation import async_cursor_of, cursor_of, run, run_async

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from types import TracebackType

    import psycopg

    from pgsched.domain.completion import Completion
    from pgsched.store.completing import Writer
    from pgsched.store.operation import Operation
    from pgsched.store.session import Database


class Completing(NamedTuple):
    """Whose transaction it is: `completion` says at its end what to write, `note_commit` is called after the commit."""

    database: Database
    writer: Writer
    completion: Callable[[], Completion]
    note_commit: Callable[[], None]

    @property
    def name(self) -> str:
        return f"pgsched {self.writer.poller}/task"

    def write(self) -> Operation[None]:
        """Raises: ExecutionLost."""
        completion = self.completion()
        [receipt] = yield from complete(self.database.names, self.writer, [completion])
        if receipt is not Receipt.CHANGED:
            execution = completion.execution
            raise ExecutionLost(execution.task_name, execution.task_instance)


@contextmanager
def completing(
    of: Completing, given: psycopg.Connection[Any] | None
) -> Generator[psycopg.Connection[Any]]:
    """A connection in a transaction that completes an execution; a `given` one is left open.

    Raises: ValueError for one that is in a transaction already; ExecutionLost; psycopg's errors as they are.
    """
    with ExitStack() as stack:
        if given is None:
            connection = connect_task(
                of.database.conninfo, name=of.name, is_pooled=of.database.is_pooled
            )
            stack.callback(connection.close)
        else:
            connection = given
            _check_idle(connection)
        with connection.transaction():
            yield connection
            run(cursor_of(connection), of.database.names, of.write())
        of.note_commit()


@asynccontextmanager
async def completing_async(
    of: Completing, given: psycopg.AsyncConnection[Any] | None
) -> AsyncGenerator[psycopg.AsyncConnection[Any]]:
    """As `completing`, for asyncio."""
    async with AsyncExitStack() as stack:
        if given is None:
            connection = await connect_task_async(
                of.database.conninfo, name=of.name, is_pooled=of.database.is_pooled
            )
            stack.push_async_callback(connection.close)
        else:
            connection = given
            _check_idle(connection)
        async with connection.transaction():
            yield connection
            await run_async(async_cursor_of(connection), of.database.names, of.write())
        of.note_commit()


class CompletingTransaction:
    """Either, as the task wants it: `with` or `async with`."""

    def __init__(self, of: Completing, given: Any) -> None:
        self._of = of
        self._given = given
        self._stack = ExitStack()
        self._async_stack = AsyncExitStack()

    def __enter__(self) -> psycopg.Connection[Any]:
        return self._stack.enter_context(completing(self._of, self._given))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    async def __aenter__(self) -> psycopg.AsyncConnection[Any]:
        return await self._async_stack.enter_async_context(completing_async(self._of, self._given))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._async_stack.__aexit__(kind, error, trace)


def _check_idle(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    if connection.info.transaction_status != TransactionStatus.IDLE:
        raise ValueError("the connection is in a transaction already; allowed: one that is in none")
