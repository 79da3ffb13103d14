"""One worker connection that is opened when it is needed and dropped when it fails.

A failed connection is never used again: after a failover its socket may lead to a server that can't write.
Never retries: who waits, and how long, is the caller's to decide.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from pgsched.errors import DatabaseUnavailable, RowsLocked
from pgsched.store.connecting import (
    connect_pooled_worker,
    connect_worker,
    translated,
    worker_settings,
)
from pgsched.store.listening import Listener
from pgsched.store.operation import Operation, Query, drive, preceded, run_together

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from pgsched.store.connecting import Watching
    from pgsched.store.operation import Row
    from pgsched.store.statement import Names

T = TypeVar("T")

STATEMENT_TIMEOUT = timedelta(seconds=10)
"""Every statement of a worker takes milliseconds; one that takes longer than this waits for somebody's lock."""


@dataclass(frozen=True, slots=True)
class Database:
    """Where the table is, and what to call it: all that a process needs to connect, no connection itself."""

    conninfo: str
    names: Names
    is_pooled: bool = False
    """Whether each transaction may find another session there (docs/decisions/008): nothing must be left in one."""

    def connect(
        self, name: str, guard: Watching, settings: Mapping[str, str]
    ) -> psycopg.Connection[Any]:
        """A worker's connection. Raises: DatabaseUnavailable."""
        if self.is_pooled:
            return connect_pooled_worker(self.conninfo, name=name)
        return connect_worker(self.conninfo, guard, name=name, settings=settings)

    def listen(self, name: str, guard: Watching) -> Listener:
        """A connection that hears notifications: not where it is pooled. Raises: DatabaseUnavailable."""
        connection = self.connect(name, guard, worker_settings(STATEMENT_TIMEOUT))
        return Listener(connection, self.names, guard)


class Session:
    """Runs operations on a connection of its own, named `name` in pg_stat_activity.

    A statement that waits longer than `lock_timeout` for somebody's lock fails; with 0 it waits as long as any may.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        guard: Watching,
        *,
        lock_timeout: timedelta = timedelta(0),
        statement_timeout: timedelta = STATEMENT_TIMEOUT,
    ) -> None:
        self._database = database
        self._name = name
        self._guard = guard
        self._settings = worker_settings(statement_timeout, lock_timeout)
        # Where a pooler gives each transaction another session.
        as_lists = {"names": list(self._settings), "values": list(self._settings.values())}
        self._in_each_transaction = Query("set_for_transaction", as_lists)
        self._connection: psycopg.Connection[Any] | None = None

    @property
    def names(self) -> Names:
        """What the table and its surroundings are called."""
        return self._database.names

    def run(self, operation: Operation[T], *, is_atomic: bool = False) -> T:
        """Raises: DatabaseUnavailable, after which the next call connects anew; RowsLocked; InvalidData."""
        if self._database.is_pooled:
            operation, is_atomic = preceded(self._in_each_transaction, operation), True
        with self._usable() as connection:
            return drive(connection, self._database.names, operation, is_atomic=is_atomic)

    def run_together(self, queries: Sequence[Query]) -> list[list[Row]]:
        """Several statements in one round trip and one transaction. Raises: as `run`."""
        with self._usable() as connection:
            first = [self._in_each_transaction] if self._database.is_pooled else []
            answers = run_together(connection, self._database.names, [*first, *queries])
            return answers[len(first) :]

    @contextmanager
    def _usable(self) -> Generator[psycopg.Connection[Any]]:
        if self._connection is None:
            self._connection = self._database.connect(self._name, self._guard, self._settings)
        try:
            with translated(), self._guard.watching(self._connection):
                yield self._connection
        except RowsLocked:
            raise
        except DatabaseUnavailable:
            self.close()
            raise
        except psycopg.Error as error:
            # Whatever else the server has against us, running tasks must not die of it: wait and try again.
            self.close()
            raise DatabaseUnavailable(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Drop the connection; the next `run` opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
