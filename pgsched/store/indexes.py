"""What is wrong with the indexes of our tables: one rule for `pgsched maintenance`, which mends it, and for
`pgsched doctor`, which tells of it. Never mends anything.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from pgsched.store.migrating import index_statements, is_current
from pgsched.store.operation import Operation, Query, drive

if TYPE_CHECKING:
    import psycopg

    from pgsched.store.statement import Names

BLOATED = 3
"""Times what it needs. One that is in use is half empty at times: rebuilding it at 2 would be done again and again."""

LEAST_BYTES = 8 << 20
"""What less than this could be won by is not worth it."""

TABLES = ("table", "failed_table", "workers_table", "leases_table")
"""As `Names` calls them."""


class Reason(Enum):
    """Why something is to be done about an index."""

    LEFT_OVER = "left over"
    INVALID = "invalid"
    MISSING = "missing"
    BLOATED = "bloated"
    NOT_OURS = "invalid, and somebody else's"


class Index(NamedTuple):
    """One of ours, or an unusable one of somebody else on our tables, which has no `origin`."""

    name: str
    quoted: str
    origin: str | None
    is_usable: bool
    is_being_built: bool
    size_bytes: int
    needed_bytes: int | None


class Repair(NamedTuple):
    """What is to be done about an index; `quoted` is its name in SQL. It may be that somebody is at it already."""

    name: str
    quoted: str
    reason: Reason
    sql: str
    size_bytes: int = 0
    needed_bytes: int = 0
    is_being_built: bool = False


def repairs(
    connection: psycopg.Connection[Any],
    names: Names,
    *,
    bloated: int = BLOATED,
    is_counted: bool = False,
) -> list[Repair]:
    """What there is to do, going by what the server's statistics say now; `is_counted`: they are of this moment.

    Where the schema is not this release's, none is called missing: a migration makes it, or a later release does
    without.
    """
    found = drive(connection, names, find_indexes(names, is_counted=is_counted), is_atomic=False)
    there = {index.name for index in found}
    needed = index_statements(names) if is_current(connection, names) else {}
    missing = {name: text for name, text in needed.items() if name not in there}
    return [
        *(repair for index in found if (repair := _repair(index, bloated))),
        *(Repair(name, name, Reason.MISSING, text) for name, text in missing.items()),
    ]


def find_indexes(names: Names, *, is_counted: bool = True) -> Operation[list[Index]]:
    """All of ours that there are, and what is broken of others."""
    wanted = {
        "tables": [names.quoted(key) for key in TABLES],
        "indexes": names.index_names(),
        "is_counted": is_counted,
    }
    rows = yield Query("find_indexes", wanted)
    return [Index._make(row) for row in rows]


def dropping(quoted: str) -> str:
    """The SQL, which keeps nobody from working."""
    return f"drop index concurrently if exists {quoted}"


def _repair(index: Index, bloated: int) -> Repair | None:
    reason = _reason(index, bloated)
    if reason is None:
        return None
    is_dropped = reason in {Reason.LEFT_OVER, Reason.NOT_OURS}
    return Repair(
        index.name,
        index.quoted,
        reason,
        dropping(index.quoted) if is_dropped else f"reindex index concurrently {index.quoted}",
        index.size_bytes,
        index.needed_bytes or 0,
        index.is_being_built,
    )


def _reason(index: Index, bloated: int) -> Reason | None:
    if not index.is_usable:
        if index.origin is None:
            return Reason.NOT_OURS
        return Reason.INVALID if index.origin == index.name else Reason.LEFT_OVER
    if index.needed_bytes is None or index.size_bytes - index.needed_bytes < LEAST_BYTES:
        return None
    return Reason.BLOATED if index.size_bytes >= bloated * index.needed_bytes else None
