"""What `pgsched doctor` wants to know: facts, each by one bounded look. Changes nothing and judges nothing.

A look that takes too long, or that the role may not have, answers `Unknown`: the others are had all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import psycopg

from pgsched.domain.execution import RECURRING_INSTANCE
from pgsched.errors import PgschedError
from pgsched.store.connecting import translated
from pgsched.store.operation import Operation, Query, drive

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime, timedelta

    from pgsched.store.statement import Names

T = TypeVar("T")

LIMITS = {"statement_timeout": "3s", "lock_timeout": "500ms"}
"""Asked in the middle of an incident: not to add to it."""

SETTINGS = (
    "autovacuum",
    "fsync",
    "full_page_writes",
    "idle_in_transaction_session_timeout",
    "synchronous_commit",
    "track_counts",
    "transaction_timeout",
)

LONGEST_S = 3e9
"""A time may be infinite, which no duration is, nor a number of JSON."""

TABLES = ("table", "failed_table", "workers_table", "leases_table", "migrations_table")
"""As `Names` calls them."""


class Unknown(NamedTuple):
    """A fact that could not be had, and why."""

    reason: str


class Server(NamedTuple):
    """The server, and who we are to it; names are quoted."""

    version_number: int
    version: str
    is_standby: bool
    is_read_only: bool
    role: str
    database: str
    is_superuser: bool
    sees_everybody: bool


class Table(NamedTuple):
    """One of our tables; `name` is quoted, with its schema, and None where there is no such table."""

    wanted: str
    name: str | None
    schema: str | None
    is_schema_usable: bool
    lacking: list[str]
    is_filtered: bool


class Addition(NamedTuple):
    """What somebody has added to a table of ours and can refuse a write; quoted, `table` with its schema."""

    kind: str
    name: str
    table: str


class Storage(NamedTuple):
    """The table as the server keeps it."""

    live_rows: int
    dead_rows: int
    table_bytes: int
    vacuumed_ago: timedelta | None
    options: list[str]


class Wraparound(NamedTuple):
    """How many transactions old the oldest one is that is still told apart."""

    database_age: int
    table: str
    table_age: int


class Pin(NamedTuple):
    """What keeps old row versions: `name` is a process id, a prepared transaction's, a slot's."""

    kind: str
    name: str
    user: str
    application: str
    state: str
    open_for: timedelta | None
    transactions: int | None


class Lock(NamedTuple):
    """Who keeps everybody from writing a table of ours; None where it may not be seen for how long."""

    pid: int
    user: str
    application: str
    table: str
    locked_for: timedelta | None


class Connections(NamedTuple):
    """How many there are, and how many there may be (None: no limit)."""

    server: int
    workers: int
    server_limit: int
    role: int
    role_limit: int | None
    database: int
    database_limit: int | None


class Notifications(NamedTuple):
    """The queue of notifications, from 0 to 1, and who probably fills it."""

    usage: float
    suspect_pid: int | None
    suspect_application: str | None


class SeenWorker(NamedTuple):
    """A worker as it last told of itself."""

    worker: str
    host: str
    pid: int
    version: str
    state: str
    pollers: int
    seen_ago: timedelta
    is_alive: bool
    started_ago: timedelta
    clock_offset: timedelta
    stands_still_for: timedelta | None
    hears_notifications: bool
    tasks: list[str]


class Waiting(NamedTuple):
    """A task with executions waiting; the most urgent has been due for so long, or is due in so long (negative)."""

    task: str
    due_s: float


class Recurrence(NamedTuple):
    """The execution of a recurring task; in seconds since then, None where it never has."""

    task: str
    is_picked: bool
    due_s: float
    failures: int
    succeeded_s: float | None
    failed_s: float | None


class Holder(NamedTuple):
    """A poller by what it has picked; its newest heartbeat in seconds since then, None where no row has one."""

    poller: str | None
    executions: int
    tasks: list[str]
    without_heartbeat: int
    newest_heartbeat_s: float | None


class FailedExecutions(NamedTuple):
    """How many, up to 100,001, and some of their tasks."""

    number: int
    tasks: list[str] | None


def look(connection: psycopg.Connection[Any], names: Names, operation: Operation[T]) -> T | Unknown:
    """The fact, or why it can't be had. Raises: DatabaseUnavailable where the connection is lost."""
    return bounded(connection, names, lambda: drive(connection, names, operation, is_atomic=False))


def bounded(connection: psycopg.Connection[Any], names: Names, ask: Callable[[], T]) -> T | Unknown:
    """As `look`, for what asks by itself on this connection. Whatever goes wrong, the other looks are made."""
    limits = {"names": [*LIMITS], "values": [*LIMITS.values()]}
    try:
        with translated(), connection.transaction():
            drive(connection, names, _set(limits), is_atomic=False)
            return ask()
    except (PgschedError, psycopg.Error) as error:
        if connection.closed:
            raise
        return Unknown(getattr(error, "reason", "") or str(error).partition("\n")[0])


def _set(limits: Mapping[str, list[str]]) -> Operation[None]:
    yield Query("set_for_transaction", limits)


def server() -> Operation[Server]:
    """The server, whether it takes writes, and the role."""
    [row] = yield Query("examine_server", {})
    return Server._make(row)


def clock() -> Operation[datetime]:
    """The database's time at this moment, which `now()` is not in a transaction."""
    at: datetime
    [(at,)] = yield Query("examine_clock", {})
    return at


def settings() -> Operation[Mapping[str, str]]:
    """The settings of SETTINGS, those that this server knows."""
    rows = yield Query("examine_settings", {"names": [*SETTINGS]})
    return dict(rows)


def tables(names: Names) -> Operation[Mapping[str, Table]]:
    """Every table of ours, by what `Names` calls it."""
    wanted = {"tables": [getattr(names, key) for key in TABLES], "schema": names.schema}
    rows = yield Query("examine_tables", wanted)
    return dict(zip(TABLES, map(Table._make, rows), strict=True))


def additions(names: Names) -> Operation[list[Addition]]:
    """Every trigger, rule and constraint that is not ours."""
    rows = yield Query("examine_additions", {"tables": [names.quoted(key) for key in TABLES]})
    return [Addition._make(row) for row in rows]


def storage(names: Names) -> Operation[Storage | None]:
    """None where there is no table."""
    rows = yield Query("examine_storage", {"table": names.quoted("table")})
    return Storage._make(rows[0]) if rows else None


def wraparound() -> Operation[Wraparound]:
    """Of the whole database: one neglected table stops them all."""
    [row] = yield Query("examine_wraparound", {})
    return Wraparound._make(row)


def pins(open_for: timedelta, transactions: int) -> Operation[list[Pin]]:
    """What has pinned row versions for so long; where that has no time, since so many transactions."""
    rows = yield Query("examine_pins", {"open_for": open_for, "transactions": transactions})
    return [Pin(row[0], row[1], row[2] or "", row[3] or "", row[4] or "", *row[5:]) for row in rows]


def locks(names: Names, locked_for: timedelta) -> Operation[list[Lock]]:
    """Locks that keep out whoever writes, held for so long."""
    tables = [names.quoted(key) for key in TABLES]
    rows = yield Query("examine_locks", {"tables": tables, "locked_for": locked_for})
    return [Lock(pid, user or "", app or "", *rest) for pid, user, app, *rest in rows]


def connections() -> Operation[Connections]:
    """Those of the server, of our role, and of this database."""
    [row] = yield Query("examine_connections", {})
    return Connections._make(row)


def notifications() -> Operation[Notifications]:
    """The server's one queue."""
    [row] = yield Query("examine_notifications", {})
    return Notifications._make(row)


def workers() -> Operation[list[SeenWorker]]:
    """All that have a row, the dead among them."""
    rows = yield Query("examine_workers", {})
    return [SeenWorker._make(row) for row in rows]


def queue() -> Operation[list[Waiting]]:
    """Every task that has something waiting."""
    rows = yield Query("examine_queue", {})
    return [Waiting(task, _finite(due_s)) for task, due_s in rows]


def recurring(tasks: Collection[str]) -> Operation[list[Recurrence]]:
    """The executions of these tasks, and of those recurring ones that any worker knows."""
    wanted = {"tasks": [*tasks], "instance": RECURRING_INSTANCE}
    rows = yield Query("examine_recurring", wanted)
    return [
        Recurrence(task, is_picked, _finite(due_s), failures, *map(_finite_or_never, past))
        for task, is_picked, due_s, failures, *past in rows
    ]


def held() -> Operation[list[Holder]]:
    """Every poller that holds something."""
    rows = yield Query("examine_held", {})
    return [
        Holder(poller, executions, tasks, without, _finite_or_never(since_s))
        for poller, executions, tasks, without, since_s in rows
    ]


def failed() -> Operation[FailedExecutions]:
    """What waits for somebody to decide."""
    [row] = yield Query("examine_failed", {})
    return FailedExecutions._make(row)


def _finite(seconds: float) -> float:
    return max(-LONGEST_S, min(LONGEST_S, seconds))


def _finite_or_never(seconds: float | None) -> float | None:
    return None if seconds is None else _finite(seconds)
