"""Connections, and psycopg's errors in our words: translated here alone, by class and SQLSTATE, never by text.

Never logs, never retries: who waits for a lost database is the worker's to decide.
"""

from __future__ import annotations

import re
import select
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from psycopg import conninfo as conninfo_
from psycopg import errors
from psycopg.adapt import Loader

from pgsched.errors import (
    ConfigError,
    DatabaseUnavailable,
    InvalidData,
    RightMissing,
    RowsLocked,
    SchemaMismatch,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from contextlib import AbstractContextManager

    from psycopg.abc import Buffer

CONNECT_TIMEOUT_S = 5
"""libpq's is "wait for ever"; a person or a supervisor waits for this."""

POOLER_HINTS = {
    "prepared statement": "a pooler in transaction mode loses prepared statements: set database.pooler to transaction, "
    "and prepare_threshold=None for connections of your own",
    "startup parameter": "a pooler refuses what it doesn't know: leave it out of the DSN, or name it in the pooler's "
    "ignore_startup_parameters",
}
"""By words of the complaint: a connection that is refused has no SQLSTATE. They only explain, they decide nothing."""

EMPTY: Mapping[str, Any] = MappingProxyType({})

TASK = {"target_session_attrs": "read-write"}
"""With several hosts in the DSN libpq looks for the one that is primary now, after a failover too."""

WORKER = {**TASK, "connect_timeout": 3}
"""A worker tries again and again: what was lost on its way must not be waited for."""

STALE_SOCKET = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""A half-open connection answers nothing and reports nothing: the kernel gives it up after some 20 to 30 s."""

SET = "select set_config(name, value, false) from unnest(%s::text[], %s::text[]) as setting (name, value)"

SET_IF_OURS = f"{SET} where pg_backend_pid() = %s"
"""A pooler shows its clients another process id than the server's. It may give this session to other programs' next
transactions: what is set in it would be set for them.
"""

PINNED_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_sort": "off",
    "jit": "off",
}
"""A worker's statements are few and made for one plan each, by index, in the index's order. The planner is kept from
other ideas, which it has when its statistics are old: after a bulk load, or when a table of millions has run empty. And
each is planned once: planning takes as long as picking 100 (measured: 0.3 ms)."""

AT_REST = {"idle_session_timeout": "0"}
"""A worker sleeps until something is due: not to be taken for somebody who forgot to leave."""

BY_INDEX = {"enable_seqscan": "off"}
"""A program may prepare its statements while the table is empty and use them when it holds millions: each of ours goes
by an index, whatever the planner thinks best at first."""

SETTINGS = {"TimeZone": "UTC", "default_transaction_isolation": "read committed", **BY_INDEX}
"""Of every session of ours: `skip locked` and the fences mean what they say at this level; at a stricter one, made the
default for the application, statements that meet fail instead."""


class Watching(Protocol):
    """Bounds what a call to the database takes where the server doesn't."""

    def watching(self, connection: psycopg.Connection[Any]) -> AbstractContextManager[None]: ...


class UtcLoader(Loader):
    """Times in UTC where the session's zone is not ours to set: sums in a zone that changes its clock go wrong."""

    def load(self, data: Buffer) -> datetime:
        return datetime.fromisoformat(bytes(data).decode()).astimezone(UTC)


def connect(conninfo: str, *, name: str = "pgsched") -> psycopg.Connection[Any]:
    """A connection of our own in autocommit mode, its session as SETTINGS say; behind a pooler one without a session.

    Raises: DatabaseUnavailable.
    """
    with translated():
        connection = psycopg.connect(_completed(conninfo, name), autocommit=True)
        set_ = connection.execute(SET_IF_OURS, _settings_of(connection))
        if not set_.rowcount:
            _do_without_session(connection)
        return connection


def connect_worker(
    conninfo: str, guard: Watching, *, name: str, settings: Mapping[str, str]
) -> psycopg.Connection[Any]:
    """A worker's connection: to a server that takes writes, its session as these settings (`worker_settings`) say.

    Raises: DatabaseUnavailable.
    """
    with translated():
        connection = psycopg.connect(_completed(conninfo, name, WORKER), autocommit=True)
        with guard.watching(connection):  # connect_timeout ends with the login
            connection.execute(SET, _as_arrays({**SETTINGS, **AT_REST, **settings}))
        connection.prepare_threshold = 0
        return connection


def worker_settings(
    statement_timeout: timedelta, lock_timeout: timedelta = timedelta(0)
) -> dict[str, str]:
    """What a worker's statements count on, whether its session says so or each transaction. No `lock_timeout`: none."""
    limits = {"statement_timeout": statement_timeout, "lock_timeout": lock_timeout}
    in_ms = {name: str(round(limit.total_seconds() * 1000)) for name, limit in limits.items()}
    return {**BY_INDEX, **in_ms, **PINNED_PLANS}


def connect_pooled_worker(conninfo: str, *, name: str) -> psycopg.Connection[Any]:
    """As `connect_worker` through a pooler in transaction mode: settings are each transaction's to make.

    Raises: DatabaseUnavailable.
    """
    with translated():
        connection = psycopg.connect(_completed(conninfo, name, WORKER), autocommit=True)
        _do_without_session(connection)
        return connection


def connect_task(conninfo: str, *, name: str, is_pooled: bool) -> psycopg.Connection[Any]:
    """A connection for a task's own statements: to a server that takes writes, with the user's settings and no others.

    Raises: DatabaseUnavailable.
    """
    with translated():
        connection = psycopg.connect(_completed(conninfo, name, TASK), autocommit=True)
        if is_pooled:
            connection.prepare_threshold = None
        return connection


async def connect_task_async(
    conninfo: str, *, name: str, is_pooled: bool
) -> psycopg.AsyncConnection[Any]:
    """As `connect_task`, for asyncio."""
    with translated():
        completed = _completed(conninfo, name, TASK)
        connection = await psycopg.AsyncConnection.connect(completed, autocommit=True)
        if is_pooled:
            connection.prepare_threshold = None
        return connection


@contextmanager
def connection(conninfo: str, *, name: str = "pgsched") -> Generator[psycopg.Connection[Any]]:
    """A connection for one errand. Raises: DatabaseUnavailable."""
    opened = connect(conninfo, name=name)
    try:
        with translated():
            yield opened
    finally:
        opened.close()


def is_silent(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether an idle connection may be used: nothing has come on it. What comes unasked is its end, or news of a
    changed setting, such as that the server takes no more writes; then a new one is the better one.
    """
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


async def connect_async(conninfo: str) -> psycopg.AsyncConnection[Any]:
    """As `connect`, for asyncio. Raises: DatabaseUnavailable."""
    with translated():
        connection = await psycopg.AsyncConnection.connect(
            _completed(conninfo, "pgsched"), autocommit=True
        )
        set_ = await connection.execute(SET_IF_OURS, _settings_of(connection))
        if not set_.rowcount:
            _do_without_session(connection)
        return connection


@contextmanager
def translated() -> Generator[None]:
    """Psycopg's errors as ours; those that mean a bug of ours go through as they are."""
    try:
        yield
    except psycopg.Error as error:
        ours = translation(error)
        if ours is error:
            raise
        raise ours from error


def translation(error: psycopg.Error) -> Exception:
    """Our error for one of psycopg's, or the same where it is a bug of ours."""
    reason = _explained(_first_line(error))
    match error:
        case errors.UndefinedTable() | errors.InvalidSchemaName():
            return SchemaMismatch(_table_of(error), found=None, needed=0)
        case errors.UndefinedColumn():
            return DatabaseUnavailable(
                f"the schema is not the one needed ({reason}): run `pgsched migrate`"
            )
        case errors.InsufficientPrivilege():
            needed = "".join(f"{note}; " for note in getattr(error, "__notes__", ()))
            return RightMissing(
                f"the role lacks a right: {reason} "
                f"({needed}`pgsched migrate --print-grants` prints what each role needs)"
            )
        case (
            psycopg.DataError()
            | errors.ProgramLimitExceeded()
            | errors.StatementTooComplex()
            | psycopg.IntegrityError()  # somebody's constraint, or, the next one, trigger
            | errors.RaiseException()
        ):
            return InvalidData(f"the database refused the data: {reason}")
        case errors.LockNotAvailable():
            return RowsLocked(reason)
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return DatabaseUnavailable(reason)
        case (
            errors.ReadOnlySqlTransaction()
            | errors.InFailedSqlTransaction()
            | errors.InvalidSqlStatementName()
            | errors.DuplicatePreparedStatement()
        ):
            return DatabaseUnavailable(reason)
        case _:
            return error


def _completed(conninfo: str, name: str, more: Mapping[str, Any] = EMPTY) -> str:
    """The conninfo with our defaults where it says nothing. Raises: ConfigError where it can't be read."""
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": name,
        **STALE_SOCKET,
    }
    defaults.update(more)
    try:
        given = conninfo_.conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        # What libpq says quotes the part it can't read, which may hold the password.
        raise ConfigError(
            "it can't be read (it is not shown, as it may hold a password)",
            key="DSN",
            allowed="postgresql://USER@HOST/DATABASE, or key=value pairs",
        ) from None
    if _names_several_hosts(given):
        defaults.update(TASK)
    return conninfo_.make_conninfo(
        conninfo, **{key: value for key, value in defaults.items() if key not in given}
    )


def _names_several_hosts(given: Mapping[str, Any]) -> bool:
    """Then one of them may be a standby. A single one is taken as it is: to look at the table a standby will do."""
    return any("," in str(given.get(key, "")) for key in ("host", "hostaddr"))


def _as_arrays(settings: Mapping[str, str]) -> tuple[list[str], list[str]]:
    return list(settings), list(settings.values())


def _settings_of(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
) -> tuple[list[str], list[str], int]:
    return (*_as_arrays(SETTINGS), connection.info.backend_pid)


def _do_without_session(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
) -> None:
    """Each transaction may find another session, with other statements prepared in it."""
    connection.prepare_threshold = None
    connection.adapters.register_loader("timestamptz", UtcLoader)


def _first_line(error: psycopg.Error) -> str:
    primary = error.diag.message_primary
    if primary:
        return primary
    # A password with an @ in it, not escaped, makes libpq take the rest for the host, and say so.
    text = str(error).removeprefix("connection failed: ")  # psycopg's, before libpq's saying so
    lines = (re.sub(r"\S*@\S*", "***", line).strip() for line in text.splitlines())
    return next(filter(None, lines), "no reason given")


def _explained(reason: str) -> str:
    hints = [f" ({hint})" for words, hint in POOLER_HINTS.items() if words in reason]
    return f"{reason}{''.join(hints)}"


def _table_of(error: psycopg.Error) -> str:
    """The table that the server misses: a field of the error for some, else quoted in its message."""
    if error.diag.table_name:
        return error.diag.table_name
    parts = (error.diag.message_primary or "").split('"')
    return parts[1] if len(parts) > 1 else "scheduled_tasks"
