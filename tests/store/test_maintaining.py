"""Indexes that are broken or far too large are mended, and nobody waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgsched.errors import DatabaseUnavailable, MaintenanceRunning, RowsLocked
from pgsched.store.building import online_lock
from pgsched.store.indexes import Reason
from pgsched.store.maintaining import OTHERS_OPEN, maintain, planned
from pgsched.store.migrating import migrate
from pgsched.store.statement import Names
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.store.acting import Store

    Connection = psycopg.Connection[Any]

NAMES = Names()
ORDER = "idx_scheduled_tasks_order"
BLOAT = (
    "insert into {0} (task_name, task_instance) select 'a-task', 'instance-' || n from generate_series(1, 150000) n",
    "delete from {0}",
    "vacuum {0}",
)


@pytest.fixture
def other(database: str) -> Generator[Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def repaired(connection: Connection, names: Names = NAMES, **limits: Any) -> dict[str, Reason]:
    """What was done, all of it."""
    done = list(maintain(connection, names, **limits))
    assert [each.problem for each in done if each.problem] == []
    return {each.repair.name: each.repair.reason for each in done}


def break_off(connection: Connection, other: Connection, statement: str) -> None:
    """A statement that builds an index concurrently, cut short while it waits for somebody's transaction."""
    with other.transaction():
        other.execute("insert into scheduled_tasks (task_name, task_instance) values ('t', 'x')")
        connection.execute("set lock_timeout = '10ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute(statement.encode())
    connection.execute("reset lock_timeout")


def indexes(connection: Connection) -> dict[str, bool]:
    """Whether each is valid, by its name."""
    return dict(
        connection.execute(
            "select indexrelid::regclass::text, indisvalid from pg_index where indrelid = 'scheduled_tasks'::regclass"
        ).fetchall()
    )


def test_what_is_well_is_left_alone(store: Store) -> None:
    assert repaired(store.connection) == {}
    store.connection.execute(BLOAT[0].format("scheduled_tasks").encode())
    assert repaired(store.connection) == {}  # large, and full


def test_what_is_wide_as_nobody_knows_is_not_called_bloated(store: Store) -> None:
    """A column without statistics, here by its owner's wish, is not taken for a narrow one."""
    store.connection.execute("alter table scheduled_tasks alter task_instance set statistics 0")
    store.connection.execute(
        "insert into scheduled_tasks (task_name, task_instance)"
        " select 't', repeat(md5(n::text), 10) from generate_series(1, 50000) as n"
    )
    assert repaired(store.connection) == {}


def test_broken_indexes_are_mended_and_what_is_left_over_goes(
    store: Store, other: Connection
) -> None:
    """By hand, on a table that somebody's own broken index is on as well: that one stays."""
    before = indexes(other)
    store.connection.execute(f"drop index {ORDER}".encode())
    store.connection.execute("drop index idx_scheduled_tasks_held")
    statement = (
        f"create index concurrently {ORDER} on scheduled_tasks"
        " (priority desc nulls last, execution_time, seq) where picked = false"
    )
    break_off(store.connection, other, statement)
    store.connection.execute("delete from scheduled_tasks")
    break_off(store.connection, other, "reindex index concurrently idx_scheduled_tasks_retrying")
    store.connection.execute("delete from scheduled_tasks")
    break_off(
        store.connection, other, "create index concurrently theirs on scheduled_tasks (picked_by)"
    )
    assert set(indexes(other).items()) - set(before.items()) == {
        (ORDER, False),
        ("idx_scheduled_tasks_retrying_ccnew", False),
        ("theirs", False),
    }
    assert repaired(store.connection) == {
        ORDER: Reason.INVALID,
        "idx_scheduled_tasks_held": Reason.MISSING,
        "idx_scheduled_tasks_retrying_ccnew": Reason.LEFT_OVER,
    }
    assert indexes(other) == {**before, "theirs": False}


def test_a_bloated_index_is_small_again_wherever_its_table_is(store: Store) -> None:
    """And it is told what is won. A name that needs quoting, in a schema of its own."""
    connection, names = store.connection, Names('a "table" 100%', 'its "schema"')
    migrate(connection, table=names.table, schema=names.schema)
    quoted = names.quoted("table")
    for statement in BLOAT:
        connection.execute(statement.format(quoted).encode())
    found = wait_until(lambda: planned(connection, names), describe="the statistics")
    assert {repair.reason for repair in found} == {Reason.BLOATED}
    assert {repair.name.rpartition("_")[2] for repair in found} == {"pkey"}
    assert planned(connection, names, bloated=100_000) == []
    done = list(maintain(connection, names))
    assert [each.problem for each in done] == [None]
    assert all(each.won_bytes > 0.9 * each.repair.size_bytes for each in done)
    assert planned(connection, names) == []


def test_tables_that_the_role_may_not_look_at_are_not_looked_at(store: Store) -> None:
    """It may read one in a schema that it may not use: naming it is refused."""
    connection = store.connection
    connection.execute("create schema hidden")
    connection.execute("create table hidden.theirs as select 'x' as task_name")
    connection.execute("insert into scheduled_tasks (task_name, task_instance) values ('t', 'x')")
    connection.execute("analyze")
    name = f"peeping_{connection.info.dbname}"
    for statement in (
        "create role {0}",
        "grant select on hidden.theirs, scheduled_tasks_migrations to {0}",
        "set role {0}",
    ):
        connection.execute(statement.format(name).encode())
    try:
        assert planned(connection, store.names) == []
    finally:
        connection.execute("reset role")
        connection.execute(f"drop owned by {name}".encode())
        connection.execute(f"drop role {name}".encode())


def test_only_one_is_at_it_and_it_is_told_who(store: Store, other: Connection) -> None:
    """Without the lock both would rebuild, and one drop what the other is building."""
    other.execute("set application_name = 'the other'")
    other.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (online_lock(store.names),))
    with pytest.raises(MaintenanceRunning, match=f"pid {other.info.backend_pid}, .*the other"):
        repaired(store.connection)
    other.execute("select pg_advisory_unlock_all()")
    assert repaired(store.connection) == {}
    assert not other.execute("select from pg_locks where locktype = 'advisory'").fetchall()


def test_an_index_that_somebody_builds_right_now_is_not_taken_for_a_broken_one(
    store: Store, other: Connection
) -> None:
    """Without the lock of the table it would be dropped, or built beside them."""
    store.connection.execute(f"drop index {ORDER}".encode())
    with other.transaction():
        other.execute(
            "lock table scheduled_tasks in share update exclusive mode"
        )  # as its builder has
        with pytest.raises(RowsLocked, match="builds an index"):
            repaired(store.connection, patience="50ms")
    assert repaired(store.connection) == {ORDER: Reason.MISSING}


def test_an_old_transaction_costs_the_rebuild_and_leaves_nothing(
    store: Store, other: Connection
) -> None:
    """Without dropping it, each write would pay for the half built one until the next time."""
    for statement in BLOAT:
        store.connection.execute(statement.format("scheduled_tasks").encode())
    before = indexes(other)
    with other.transaction():
        other.execute("set transaction isolation level repeatable read")
        other.execute("select count(*) from pg_class")
        done = list(maintain(store.connection, store.names, patience="50ms"))
        assert [each.problem for each in done] == [OTHERS_OPEN]
        assert indexes(store.connection) == before
    assert len(repaired(store.connection)) == 1


def test_who_may_maintain(store: Store, database: str) -> None:
    """The owner, or since Postgres 17 whoever has MAINTAIN: that is enough for all but a missing index."""
    connection = store.connection
    with_maintain = connection.info.server_version >= 170_000
    name = f"maintaining_{psycopg.conninfo.conninfo_to_dict(database)['dbname']}"
    tables = (
        "scheduled_tasks, scheduled_tasks_failed, scheduled_tasks_workers, scheduled_tasks_leases"
    )
    connection.execute(f"create role {name}".encode())
    try:
        connection.execute(
            f"grant select, insert, update, delete on {tables}, scheduled_tasks_migrations to {name}".encode()
        )
        connection.execute(f"set role {name}".encode())
        with pytest.raises(DatabaseUnavailable, match=r"may not maintain table .*--print-grants"):
            repaired(connection)
        connection.execute("reset role")
        if with_maintain:
            connection.execute(f"grant maintain on {tables} to {name}".encode())
            for statement in BLOAT:
                connection.execute(statement.format("scheduled_tasks").encode())
            connection.execute("drop index idx_scheduled_tasks_held")
            connection.execute(f"set role {name}".encode())
            done = list(maintain(connection, store.names))
            assert [bool(each.problem) for each in done] == [False, True]
            assert "must be owner" in str(done[-1].problem)
            connection.execute("reset role")
    finally:
        connection.execute("reset role")
        connection.execute(f"drop owned by {name}".encode())
        connection.execute(f"drop role {name}".encode())
