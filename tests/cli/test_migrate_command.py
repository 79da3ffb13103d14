from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pgsched.store.migrating import all_migrations, needed_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Answer, Command

NAMES = [f"{migration.version:04} {migration.name}" for migration in all_migrations()]


def test_a_database_is_brought_up_to_date_once(empty_database: str, command: Command) -> None:
    missing = command("migrate", "--check", "--dsn", empty_database)
    assert missing.status == 1
    assert missing.out.splitlines() == [f"pending {name}" for name in NAMES]

    first = command("migrate", "--dsn", empty_database)
    assert (first.status, first.err) == (0, "")
    *applied, last = first.out.splitlines()
    assert applied == [f"applied {name}" for name in NAMES]
    assert last == f"table 'scheduled_tasks' is up to date: schema version {needed_version()}"

    again = command("migrate", "--dsn", empty_database)
    assert (again.status, again.out.splitlines()) == (0, [last])
    assert command("migrate", "--check", "--dsn", empty_database).status == 0


def test_a_dry_run_prints_sql_that_does_the_same_and_changes_nothing(
    empty_database: str, command: Command
) -> None:
    script = command("migrate", "--dry-run", "--dsn", empty_database)
    assert (script.status, script.err) == (0, "")
    assert command("migrate", "--check", "--dsn", empty_database).status == 1
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(script.out.encode())
    assert command("migrate", "--check", "--dsn", empty_database).status == 0
    nothing = command("migrate", "--dry-run", "--dsn", empty_database)
    assert (nothing.status, nothing.out) == (0, "-- up to date: nothing to apply\n")


def test_a_dry_run_without_a_database_prints_every_migration(usage: Callable[..., Answer]) -> None:
    answer = usage("migrate", "--dry-run")
    assert answer.status == 0
    assert [name for name in NAMES if f"-- {name}\n" not in answer.out] == []


def test_table_and_schema_are_those_of_the_configuration(
    empty_database: str, command: Command
) -> None:
    names = {"PGSCHED_DATABASE__TABLE": 'My "Jobs"', "PGSCHED_DATABASE__SCHEMA": "own schema"}
    assert command("migrate", "--dsn", empty_database, **names).status == 0
    assert command("migrate", "--check", "--dsn", empty_database).status == 1
    schedule = ("schedule", "a", "b", "--dsn", empty_database)
    assert command(*schedule, **names).status == 0
    with psycopg.connect(empty_database) as connection:
        [row] = connection.execute('select task_name from "own schema"."My ""Jobs"""').fetchall()
    assert row == ("a",)


def test_a_schema_that_is_too_new_exits_75(database: str, command: Command) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "insert into scheduled_tasks_migrations (version, name) values (9999, 'x')"
        )
    for arguments in (["migrate"], ["migrate", "--check"]):
        answer = command(*arguments, "--dsn", database)
        assert (answer.status, answer.out) == (75, "")
        assert "is too new: it is at version 9999" in answer.err
        assert answer.err.count("\n") == 1


def test_a_database_without_the_table_exits_75_and_says_what_to_do(
    empty_database: str, command: Command
) -> None:
    answer = command("list", "--dsn", empty_database)
    assert (answer.status, answer.out) == (75, "")
    assert "run `pgsched migrate`" in answer.err
    assert answer.err.count("\n") == 1


def test_grants_are_printed_for_the_roles_that_are_named(usage: Callable[..., Answer]) -> None:
    every = usage("migrate", "--print-grants")
    assert (every.status, every.err) == (0, "")
    for kind in ("migrate", "worker", "schedule", "read"):
        assert f'to "pgsched_{kind}";' in every.out
    one = usage("migrate", "--print-grants", "--role", 'read=the "reader"')
    assert 'to "the ""reader""";' in one.out
    assert "pgsched_" not in one.out


@pytest.mark.parametrize(
    "options",
    [
        ("--role", "read=x"),
        ("--print-grants", "--role", "red=x"),
        ("--print-grants", "--role", "read"),
        ("--print-grants", "--role", "read="),
        ("--print-grants", "--role", "read=" + "x" * 64),
        ("--print-grants", "--role", "read=x\ny"),
        ("--print-grants", "--role", "read=x", "--role", "read=y"),
        ("--print-grants", "--check"),
    ],
)
def test_what_names_no_role_is_refused(
    options: tuple[str, ...], usage: Callable[..., Answer]
) -> None:
    answer = usage("migrate", *options)
    assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert ("did you mean 'read'" in answer.err) == ("red=x" in options)  # not where it was meant
