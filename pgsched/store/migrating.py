"""Applies migrations/NNNN_name.sql: in order, once, whoever runs it and however many do so at once.

The version table holds one row a migration. DDL exists in migrations/ alone, but for that table and a schema.

Releases of two ages meet in a rolling deploy. Each migration tells the older one whether it may go on, by a line
`-- Works with: 6` (whoever knows the schema of version 6); one that says nothing works with nobody older.
"""

from __future__ import annotations

import random
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors, sql

from pgsched.errors import DatabaseUnavailable, SchemaMismatch
from pgsched.store.building import building
from pgsched.store.connecting import translated, translation
from pgsched.store.statement import Names, composed, without_comments

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from importlib.resources.abc import Traversable

LOCK_TIMEOUT = "2s"
"""A waiting DDL statement makes everybody behind it wait too: better to step back and try again."""

ATTEMPTS = 30
"""With the pauses between them some 1 to 2 minutes; then somebody holds a lock that a person should look at."""


CONCURRENTLY = {"concurrently": sql.SQL("concurrently")}

INDEX = re.compile(r"create index (?:\{concurrently\} )?if not exists (\{(\w+)_index\}.*)")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered SQL file."""

    version: int
    name: str
    text: str

    @property
    def is_online(self) -> bool:
        """Whether it is to run beside everybody's work: statement by statement, without a transaction around them."""
        return "{concurrently}" in self.text

    @property
    def works_with(self) -> int:
        """The oldest schema version that a release must know to go on after this."""
        stated = re.search(r"^-- Works with: (\d+)$", self.text, re.MULTILINE)
        return int(stated[1]) if stated else self.version


@cache
def all_migrations() -> tuple[Migration, ...]:
    """Every migration that this release ships, in order."""
    paths = sorted(
        (path for path in _folder().iterdir() if path.name.endswith(".sql")), key=lambda p: p.name
    )
    return tuple(
        Migration(int(path.name[:4]), path.name[5:-4], path.read_text(encoding="utf-8"))
        for path in paths
    )


def needed_version() -> int:
    """The schema version that this release works with."""
    return all_migrations()[-1].version


def migrate(
    connection: psycopg.Connection[Any],
    *,
    table: str = "scheduled_tasks",
    schema: str | None = None,
) -> list[Migration]:
    """Apply what is pending; answers what was applied.

    All in one transaction where the table is new; else each online migration by itself, so that nobody waits for it.
    Raises: SchemaMismatch where the schema is too new for this release; DatabaseUnavailable where locks can't be had;
    ConfigError where a pooler would lose one.
    """
    names = Names(table, schema)
    applied: list[Migration] = []
    while (step := _patiently(connection, names)) is not None:
        applied += step
    return applied


def _patiently(connection: psycopg.Connection[Any], names: Names) -> list[Migration] | None:
    """What the next step applied, None when nothing was left to; tried again while others hold the locks for it."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0.5, 3.0))
        try:
            return _apply_next(connection, names)
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            continue
        except psycopg.Error as error:
            raise translation(error) from error
    raise DatabaseUnavailable(
        f"the locks for migrating table {names.table!r} could not be had in {ATTEMPTS} tries: "
        "look in pg_stat_activity for who holds them, and try again"
    )


def pending(
    connection: psycopg.Connection[Any],
    *,
    table: str = "scheduled_tasks",
    schema: str | None = None,
) -> list[Migration]:
    """What `migrate` would apply. Raises: SchemaMismatch where the schema is too new for this release."""
    with translated():
        return _pending(connection, Names(table, schema))


def check(
    connection: psycopg.Connection[Any],
    *,
    table: str = "scheduled_tasks",
    schema: str | None = None,
) -> None:
    """Refuse a schema that this release can't work with. Raises: SchemaMismatch."""
    if missing := pending(connection, table=table, schema=schema):
        found = missing[0].version - 1
        raise SchemaMismatch(table, found=found or None, needed=needed_version())


def script(
    migrations: Sequence[Migration], *, table: str = "scheduled_tasks", schema: str | None = None
) -> str:
    """The SQL of these migrations as a person would run it, the version table included."""
    names = Names(table, schema)
    is_new = any(migration.version == 1 for migration in migrations)
    parts = [f"set lock_timeout = '{LOCK_TIMEOUT}';", f"{_version_table(names)};"]
    for migration in migrations:
        text = _text(migration, names, is_new=is_new).as_string(None)
        record = f"{_record(migration, names).as_string(None)};"
        parts.append(f"-- {migration.version:04} {migration.name}")
        is_whole = is_new or not migration.is_online
        parts += ["begin;", text, record, "commit;"] if is_whole else [text, record]
    return "\n\n".join([*parts, ""])


def is_current(connection: psycopg.Connection[Any], names: Names) -> bool:
    """Whether the schema is this release's: nothing is pending, and no later release has migrated it."""
    with translated():
        return _applied(connection, names) == {each.version for each in all_migrations()}


def index_statements(names: Names) -> dict[str, str]:
    """What builds each index that is needed beside everybody's work, by the index's name."""
    identifiers = names.identifiers()
    found = {
        f"idx_{names.table}_{match[2]}": composed(
            f"create index concurrently if not exists {match[1]}", identifiers
        ).as_string(None)
        for migration in all_migrations()
        for statement in _statements(migration)
        if (match := INDEX.match(statement))
    }
    return {name: found[name] for name in names.index_names()}


def table_options() -> dict[str, str]:
    """The storage options that migrations give the table."""
    texts = "\n".join(migration.text for migration in all_migrations())
    lists = re.findall(r"alter table \{table\} set \(([^)]*)\)", texts)
    return dict(re.findall(r"(\w+) = (\S+?)(?:,|\s|$)", "\n".join(lists)))


def _apply_next(connection: psycopg.Connection[Any], names: Names) -> list[Migration] | None:
    """Everything where the table is new; else what comes before the next online migration, or that one."""
    with connection.transaction():
        connection.execute("select set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
        connection.execute("set local statement_timeout = 0")  # as in `_unhurried`
        _lock(connection, names)
        _create_schema(connection, names)
        is_new = not _is_there(connection, names, "table")
        found = _pending(connection, names)
        step = found if is_new else list(takewhile(lambda each: not each.is_online, found))
        if step:
            connection.execute(_version_table(names).encode())
        for migration in step:
            connection.execute(_text(migration, names, is_new=is_new))
            connection.execute(_record(migration, names))
    if found and not step:
        return _apply_online(connection, names, found[0])
    return step or None


def _apply_online(
    connection: psycopg.Connection[Any], names: Names, migration: Migration
) -> list[Migration]:
    """Statement by statement. What another process is at already is waited for with nothing open: building an index
    concurrently waits for every older transaction, and would wait for one that waits for it.
    """
    who = f"migration {migration.version:04}"
    with building(connection, names, who) as is_alone, _unhurried(connection):
        if is_alone:
            return _build(connection, names, migration)
    time.sleep(random.uniform(0.2, 1.0))
    return []


@contextmanager
def _unhurried(connection: psycopg.Connection[Any]) -> Generator[None]:
    """What has a large table to read takes as long as it takes, whatever the role's limit on its statements is.

    Only of a session that is ours: set in one of a pooler's, it would be so for others.
    """
    connection.execute("set statement_timeout = 0")
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("reset statement_timeout")


def _build(
    connection: psycopg.Connection[Any], names: Names, migration: Migration
) -> list[Migration]:
    if migration not in _pending(connection, names):
        return []
    _drop_half_built(connection, names)
    for statement in _statements(migration):
        connection.execute(composed(statement, {**names.identifiers(), **CONCURRENTLY}))
    connection.execute(_record(migration, names))
    return [migration]


def _drop_half_built(connection: psycopg.Connection[Any], names: Names) -> None:
    """An index of ours whose building was cut short stays behind, invalid, and would be taken for there."""
    rows = connection.execute(
        "select indexrelid::regclass::text from pg_index"
        " where not indisvalid and indexrelid = any (select to_regclass(name) from unnest(%s::text[]) as name)",
        (names.built_indexes(),),
    ).fetchall()
    for (index,) in rows:
        connection.execute(f"drop index concurrently if exists {index}".encode())


def _lock(connection: psycopg.Connection[Any], names: Names) -> None:
    """One migration at a time; the lock goes with the transaction, so a pooler between us does no harm."""
    connection.execute(
        "select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"pgsched.migrate.{names.table}",)
    )


def _create_schema(connection: psycopg.Connection[Any], names: Names) -> None:
    """Only where it is missing: `create schema if not exists` needs the right to create one even if it is there."""
    if names.schema is None:
        return
    found = connection.execute(
        "select to_regnamespace(quote_ident(%s))", (names.schema,)
    ).fetchone()
    if found is None or found[0] is None:
        connection.execute(sql.SQL("create schema {}").format(sql.Identifier(names.schema)))


def _pending(connection: psycopg.Connection[Any], names: Names) -> list[Migration]:
    applied = _applied(connection, names)
    if applied and max(applied) > needed_version() and not _works(connection, names):
        raise SchemaMismatch(names.table, found=max(applied), needed=needed_version())
    return [migration for migration in all_migrations() if migration.version not in applied]


def _applied(connection: psycopg.Connection[Any], names: Names) -> set[int]:
    if not _is_there(connection, names, "migrations_table"):
        return set()
    table = names.identifiers()["migrations_table"]
    rows = (
        psycopg
        .Cursor(connection)
        .execute(sql.SQL("select version from {}").format(table))
        .fetchall()
    )
    return {version for (version,) in rows}


def _works(connection: psycopg.Connection[Any], names: Names) -> bool:
    """Whether all migrations that this release doesn't know work with it."""
    query = sql.SQL(
        "select bool_and(coalesce(works_with, version) <= %(known)s) from {} where version > %(known)s"
    ).format(names.identifiers()["migrations_table"])
    [(works,)] = psycopg.Cursor(connection).execute(query, {"known": needed_version()}).fetchall()
    return bool(works)


def _is_there(connection: psycopg.Connection[Any], names: Names, table: str) -> bool:
    name = names.identifiers()[table].as_string(None)
    found = psycopg.Cursor(connection).execute("select to_regclass(%s)", (name,)).fetchone()
    return found is not None and found[0] is not None


def _version_table(names: Names) -> str:
    return composed(
        "create table if not exists {migrations_table} (\n"
        "  version    int         primary key,\n"
        "  name       text        not null,\n"
        "  applied_at timestamptz not null default now()\n"
        ");\n"
        "alter table {migrations_table} add column if not exists works_with int",
        names.identifiers(),
    ).as_string(None)


def _text(migration: Migration, names: Names, *, is_new: bool) -> sql.Composed:
    concurrently = {"concurrently": sql.SQL("")} if is_new else CONCURRENTLY
    return composed(migration.text.strip(), {**names.identifiers(), **concurrently})


def _statements(migration: Migration) -> list[str]:
    """One by one, as they run beside everybody's work; the names not put in yet."""
    parts = without_comments(migration.text).strip().removesuffix(";").split(";\n")
    return [" ".join(part.split()) for part in parts if part.strip()]


def _record(migration: Migration, names: Names) -> sql.Composed:
    values = {
        "version": sql.Literal(migration.version),
        "name": sql.Literal(migration.name),
        "works_with": sql.Literal(migration.works_with),
    }
    return composed(
        "insert into {migrations_table} (version, name, works_with)"
        " values ({version}, {name}, {works_with})",
        {**names.identifiers(), **values},
    )


def _folder() -> Traversable:
    """Inside the wheel beside the package's modules; in a checkout at the top level."""
    shipped = files("pgsched") / "migrations"
    return shipped if shipped.is_dir() else Path(__file__).parents[2] / "migrations"
