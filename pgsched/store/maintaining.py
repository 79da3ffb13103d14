"""Keeps the indexes of our tables small and whole, beside everybody's work.

Never touches an index of somebody else's, never locks out a reader or writer, and never vacuums: that is autovacuum's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import errors, sql

from pgsched.errors import DatabaseUnavailable, MaintenanceRunning, RowsLocked
from pgsched.store.building import building, online_lock
from pgsched.store.connecting import translated, translation
from pgsched.store.indexes import (
    BLOATED,
    TABLES,
    Reason,
    Repair,
    dropping,
    find_indexes,
    repairs,
)
from pgsched.store.migrating import check
from pgsched.store.operation import Operation, Query, drive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgsched.store.statement import Names

PATIENCE = "1min"
"""A rebuild waits for older transactions, and meanwhile keeps autovacuum from the table: not for long."""

SETTINGS = {
    "statement_timeout": "0",
    "transaction_timeout": "0",  # since Postgres 17
    "client_connection_check_interval": "1s",  # a client that was killed is not worked for any longer
}

OTHERS_OPEN = "another transaction has not ended in time: `pgsched doctor` names those that have been open for minutes"
"""The server's own words for it are of a lock timeout, and lead nowhere."""


class Repaired(NamedTuple):
    """What became of it: `problem` says why it was not done."""

    repair: Repair
    won_bytes: int = 0
    problem: str | None = None


def missing_right(connection: psycopg.Connection[Any], names: Names) -> str | None:
    """What keeps this role from maintaining the tables, in a sentence; None where nothing does."""
    role, tables = drive(connection, names, _may_maintain(names), is_atomic=False)
    if not tables:
        return None
    return (
        f"the role lacks a right: {role!r} may not maintain table {tables[0]} (it takes the owner or, "
        "on Postgres 17 and newer, MAINTAIN; `pgsched migrate --print-grants` prints what each role needs)"
    )


def planned(
    connection: psycopg.Connection[Any],
    names: Names,
    *,
    bloated: int = BLOATED,
    is_counted: bool = False,
) -> list[Repair]:
    """What there is to do with our own, as `repairs` says it. Raises: SchemaMismatch."""
    check(connection, table=names.table, schema=names.schema)
    found = repairs(connection, names, bloated=bloated, is_counted=is_counted)
    return [repair for repair in found if repair.reason is not Reason.NOT_OURS]


def maintain(
    connection: psycopg.Connection[Any],
    names: Names,
    *,
    bloated: int = BLOATED,
    patience: str = PATIENCE,
) -> Iterator[Repaired]:
    """Do what there is to do, one by one; its session is not to be used for anything else.

    Raises: MaintenanceRunning; RowsLocked where somebody is at one of the tables for longer than `patience`, so that a
    broken index can't be told from one that is being built; DatabaseUnavailable where a right is lacking;
    SchemaMismatch; ConfigError where a pooler would lose the lock.
    """
    with translated(), building(connection, names, "maintenance") as is_alone:
        # Migrations build indexes under the same lock: what is not whole then is not being built by us.
        if not is_alone:
            holder = drive(connection, names, _lock_holder(online_lock(names)), is_atomic=False)
            raise MaintenanceRunning(names.table, holder)
        if lacking := missing_right(connection, names):
            raise DatabaseUnavailable(lacking)
        _set(connection, {**SETTINGS, "lock_timeout": patience})
        for repair in _found(connection, names, bloated):
            yield _done(connection, names, repair)
        drive(connection, names, _remove_old_leases(), is_atomic=False)


def _found(connection: psycopg.Connection[Any], names: Names, bloated: int) -> list[Repair]:
    """Counted anew: an estimate from before a peak would call every index bloated, or none."""
    tables = sql.SQL(", ").join(names.identifiers()[key] for key in TABLES)
    try:
        connection.execute(sql.SQL("analyze {}").format(tables))
        with connection.transaction():
            # Whoever builds an index concurrently has this lock until it is whole.
            connection.execute(
                sql.SQL("lock table {} in share update exclusive mode").format(tables)
            )
            return planned(connection, names, bloated=bloated, is_counted=True)
    except errors.LockNotAvailable:
        raise RowsLocked(
            f"somebody vacuums table {names.table!r} or builds an index of it, and has not ended in time: "
            "try again later"
        ) from None


def _done(connection: psycopg.Connection[Any], names: Names, repair: Repair) -> Repaired:
    try:
        connection.execute(repair.sql.encode())
    except psycopg.Error as error:
        if connection.closed:
            raise
        _drop_left_over(connection, names, repair)
        told = translation(error)
        is_waiting = isinstance(error, errors.LockNotAvailable)
        problem = OTHERS_OPEN if is_waiting else getattr(told, "reason", str(told))
        return Repaired(repair, problem=problem)
    sizes = drive(connection, names, find_indexes(names), is_atomic=False)
    size_bytes = sum(index.size_bytes for index in sizes if index.name == repair.name)
    return Repaired(repair, max(0, repair.size_bytes - size_bytes))


def _drop_left_over(connection: psycopg.Connection[Any], names: Names, failed: Repair) -> None:
    """Every write pays for what a rebuild that was cut short has left; where it stays, the next time drops it."""
    for index in drive(connection, names, find_indexes(names), is_atomic=False):
        if index.origin == failed.name != index.name and not index.is_usable:
            try:
                connection.execute(dropping(index.quoted).encode())
            except psycopg.Error:
                if connection.closed:
                    raise


def _set(connection: psycopg.Connection[Any], settings: dict[str, str]) -> None:
    """Those that this server knows."""
    connection.execute(
        "select set_config(name, value, false) from unnest(%s::text[], %s::text[]) as setting (name, value)"
        " where name in (select name from pg_settings)",
        (list(settings), list(settings.values())),
    )


def _may_maintain(names: Names) -> Operation[tuple[str, list[str]]]:
    [(role, tables)] = yield Query(
        "may_maintain", {"tables": [names.quoted(key) for key in TABLES]}
    )
    return role, tables


def _lock_holder(key: str) -> Operation[str]:
    rows = yield Query("lock_holder", {"key": key})
    if not rows:
        return "somebody who has ended just now"
    [(pid, user, application), *_] = rows
    return ", ".join(filter(None, (f"pid {pid}", user and f"user {user}", application)))


def _remove_old_leases() -> Operation[None]:
    yield Query("remove_old_leases", {})
