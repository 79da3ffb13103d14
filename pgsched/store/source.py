"""Where a client's cursors come from: a connection of its own, a pool, or the caller's connection.

Whoever opened a connection closes it. Errors are ours where the connection is ours, and psycopg's where the caller's
own transaction is at stake: it may want to retry a serialization failure as such.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus

from pgsched.store.connecting import connect, connect_async, is_silent, translated
from pgsched.store.operation import async_cursor_of, cursor_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from psycopg_pool import AsyncConnectionPool, ConnectionPool

    from pgsched.store.operation import Row

SyncConnection: TypeAlias = "psycopg.Connection[Any]"
AsyncConnection: TypeAlias = "psycopg.AsyncConnection[Any]"
SyncCursor: TypeAlias = "psycopg.Cursor[Row]"
AsyncCursor: TypeAlias = "psycopg.AsyncCursor[Row]"

LONGEST_KEPT = 100
"""Rows: a cursor keeps its last answer, and one that keeps more is not used again."""


class Source(Protocol):
    """Lends a cursor for one call."""

    @property
    def is_alone(self) -> bool:
        """Whether what one call does is a transaction of its own."""

    def lent(self) -> AbstractContextManager[SyncCursor]: ...

    def close(self) -> None: ...


class AsyncSource(Protocol):
    """As `Source`, for asyncio."""

    @property
    def is_alone(self) -> bool: ...

    def lent(self) -> AbstractAsyncContextManager[AsyncCursor]: ...

    async def close(self) -> None: ...


def source_of(target: str | SyncConnection | ConnectionPool[Any]) -> Source:
    """The source that a client's argument stands for. Raises: TypeError."""
    if isinstance(target, str):
        return _Own(target)
    if isinstance(target, psycopg.Connection):
        return _Callers(target)
    if hasattr(target, "connection") and not isinstance(target, psycopg.AsyncConnection):
        return _Pooled(target)
    raise TypeError(
        f"{_kind(target)} can't be used; allowed: a conninfo, a psycopg Connection, a ConnectionPool"
    )


def async_source_of(target: str | AsyncConnection | AsyncConnectionPool[Any]) -> AsyncSource:
    """As `source_of`, for asyncio. Raises: TypeError."""
    if isinstance(target, str):
        return _AsyncOwn(target)
    if isinstance(target, psycopg.AsyncConnection):
        return _AsyncCallers(target)
    if hasattr(target, "connection") and not isinstance(target, psycopg.Connection):
        return _AsyncPooled(target)
    raise TypeError(
        f"{_kind(target)} can't be used; allowed: a conninfo, a psycopg AsyncConnection, an AsyncConnectionPool"
    )


def _kind(target: object) -> str:
    return f"a {type(target).__qualname__}"


def _is_alone(connection: SyncConnection | AsyncConnection) -> bool:
    """In a pipeline nothing is committed before the caller's next sync, however idle the connection looks."""
    info = connection.info
    return (
        connection.autocommit
        and info.transaction_status == TransactionStatus.IDLE
        and info.pipeline_status == PipelineStatus.OFF
    )


class _Own:
    """A connection of our own, opened on first use and again after it broke; one call at a time.

    One that broke while it was idle is noticed before it is used: after a restart of the server no call fails of it.
    """

    is_alone = True

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._cursor: SyncCursor | None = None
        self._turn = threading.Lock()

    @contextmanager
    def lent(self) -> Generator[SyncCursor]:
        with self._turn, translated():
            if self._cursor is None or not is_silent(self._cursor.connection):
                self.close()
                self._cursor = cursor_of(connect(self._conninfo))
            try:
                yield self._cursor
            except psycopg.errors.ReadOnlySqlTransaction:
                self.close()  # no longer the primary, which may be another host of the DSN now
                raise
            if self._cursor.rowcount > LONGEST_KEPT:
                self._cursor = cursor_of(self._cursor.connection)

    def close(self) -> None:
        if self._cursor is not None:
            self._cursor.connection.close()


class _Pooled:
    is_alone = True

    def __init__(self, pool: ConnectionPool[Any]) -> None:
        self._pool = pool

    @contextmanager
    def lent(self) -> Generator[SyncCursor]:
        with translated(), self._pool.connection() as connection:
            yield cursor_of(connection)

    def close(self) -> None:
        """Not ours."""


class _Callers:
    def __init__(self, connection: SyncConnection) -> None:
        self._connection = connection

    @property
    def is_alone(self) -> bool:
        return _is_alone(self._connection)

    @contextmanager
    def lent(self) -> Generator[SyncCursor]:
        yield cursor_of(self._connection)

    def close(self) -> None:
        """Not ours."""


class _AsyncOwn:
    is_alone = True

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._cursor: AsyncCursor | None = None
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def lent(self) -> AsyncGenerator[AsyncCursor]:
        async with self._turn:
            with translated():
                if self._cursor is None or not is_silent(self._cursor.connection):
                    await self.close()
                    self._cursor = async_cursor_of(await connect_async(self._conninfo))
                try:
                    yield self._cursor
                except psycopg.errors.ReadOnlySqlTransaction:
                    await self.close()
                    raise
                if self._cursor.rowcount > LONGEST_KEPT:
                    self._cursor = async_cursor_of(self._cursor.connection)

    async def close(self) -> None:
        if self._cursor is not None:
            await self._cursor.connection.close()


class _AsyncPooled:
    is_alone = True

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    @asynccontextmanager
    async def lent(self) -> AsyncGenerator[AsyncCursor]:
        with translated():
            async with self._pool.connection() as connection:
                yield async_cursor_of(connection)

    async def close(self) -> None:
        """Not ours."""


class _AsyncCallers:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @property
    def is_alone(self) -> bool:
        return _is_alone(self._connection)

    @asynccontextmanager
    async def lent(self) -> AsyncGenerator[AsyncCursor]:
        yield async_cursor_of(self._connection)

    async def close(self) -> None:
        """Not ours."""
