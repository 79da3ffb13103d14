"""Migrating a table that is in use: nobody waits, nothing is half done, several may try at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgsched.store.migrating import all_migrations, migrate, needed_version, pending, script
from tests.postgres import new_database
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator

OURS = {
    "scheduled_tasks_pkey",
    "idx_scheduled_tasks_order",
    "idx_scheduled_tasks_queue",
    "idx_scheduled_tasks_held",
    "idx_scheduled_tasks_retrying",
}


@pytest.fixture
def old(server: str) -> Generator[str]:
    """A database as the third migration left it, with rows."""
    with new_database(server) as conninfo:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(script(all_migrations()[:3]).encode())
            connection.execute(
                "insert into scheduled_tasks (task_name, task_instance)"
                " select 't', n::text from generate_series(1, 1000) as n"
            )
        yield conninfo


def indexes(connection: psycopg.Connection[Any], table: str = "public.scheduled_tasks") -> set[str]:
    """The valid ones."""
    rows = connection.execute(
        "select relname from pg_index join pg_class on pg_class.oid = indexrelid"
        " where indrelid = %s::regclass and indisvalid",
        (table,),
    )
    return {name for (name,) in rows}


def test_rows_stay_and_the_indexes_are_new(old: str) -> None:
    with psycopg.connect(old, autocommit=True) as connection:
        applied = migrate(connection)
        assert [migration.version for migration in applied] == list(range(4, needed_version() + 1))
        assert indexes(connection) == OURS
        assert connection.execute("select count(*) from scheduled_tasks").fetchone() == (1000,)
        assert migrate(connection) == []


def test_writers_go_on_while_indexes_are_built(old: str) -> None:
    """A writer with an open transaction is waited for, and keeps nobody else from writing meanwhile."""
    with (
        psycopg.connect(old) as writing,
        psycopg.connect(old, autocommit=True) as migrating,
        psycopg.connect(old, autocommit=True) as another,
    ):
        writing.autocommit = False
        migrate_to(migrating, 4)
        writing.execute("insert into scheduled_tasks (task_name, task_instance) values ('t', 'a')")
        thread = threading.Thread(target=migrate, args=(migrating,))
        thread.start()
        for n in range(50):
            another.execute(
                "insert into scheduled_tasks (task_name, task_instance) values ('u', %s)", (str(n),)
            )
        writing.commit()
        thread.join(timeout=30)
        assert not thread.is_alive()
        assert indexes(another) == OURS
        assert another.execute("select count(*) from scheduled_tasks").fetchone() == (1051,)


def test_an_index_takes_longer_than_a_statement_may(old: str) -> None:
    """Without a word against it, the role's limit ends what waits for the writer."""
    with (
        psycopg.connect(old) as writing,
        psycopg.connect(old, autocommit=True, options="-c statement_timeout=100ms") as migrating,
        psycopg.connect(old, autocommit=True) as watching,
    ):
        migrate_to(watching, 4)
        writing.execute("insert into scheduled_tasks (task_name, task_instance) values ('t', 'a')")
        thread = threading.Thread(target=migrate, args=(migrating,))
        thread.start()
        wait_until(lambda: has_waited(watching, migrating), describe="the index to wait")
        writing.commit()
        thread.join(timeout=30)
        assert indexes(watching) == OURS
        assert migrating.execute("show statement_timeout").fetchone() == ("100ms",)


def has_waited(watching: psycopg.Connection[Any], migrating: psycopg.Connection[Any]) -> bool:
    found = watching.execute(
        "select from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
        " and clock_timestamp() - query_start > interval '200 ms'",
        [migrating.info.backend_pid],
    )
    return found.fetchone() is not None


def migrate_to(connection: psycopg.Connection[Any], version: int) -> None:
    """The migrations up to one, as the script of a dry run has them."""
    steps = [each for each in pending(connection) if each.version <= version]
    connection.execute(script(steps).encode())


def test_several_at_once_do_each_step_once(old: str) -> None:
    applied: list[int] = []

    def run() -> None:
        with psycopg.connect(old, autocommit=True) as connection:
            applied.extend(migration.version for migration in migrate(connection))

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(applied) == list(range(4, needed_version() + 1))
    with psycopg.connect(old) as connection:
        assert indexes(connection) == OURS


def test_an_index_whose_building_was_cut_short_is_built_anew(old: str) -> None:
    with psycopg.connect(old, autocommit=True) as connection:
        migrate_to(connection, 4)
        connection.execute(
            "insert into scheduled_tasks (task_name, task_instance, picked, picked_by)"
            " values ('t', 'x', true, 'p'), ('t', 'y', true, 'p')"
        )
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(
                "create unique index concurrently idx_scheduled_tasks_held on scheduled_tasks (picked_by) where picked"
            )
        assert "idx_scheduled_tasks_held" not in indexes(connection)
        migrate(connection)
        assert indexes(connection) == OURS


def test_a_table_in_a_schema_of_its_own_leaves_its_namesake_alone(old: str) -> None:
    with psycopg.connect(old, autocommit=True) as connection:
        before = indexes(connection)
        connection.execute("create schema app")
        connection.execute(script(all_migrations()[:3], schema="app").encode())
        migrate(connection, schema="app")
        assert indexes(connection, "app.scheduled_tasks") == OURS
        assert indexes(connection) == before


def test_an_index_of_the_users_own_is_left_alone_even_when_it_is_half_built(old: str) -> None:
    with psycopg.connect(old, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(
                "create unique index concurrently theirs on scheduled_tasks (task_name)"
            )
        migrate(connection)
        found = connection.execute("select to_regclass('theirs')").fetchone()
        assert found == ("theirs",)
