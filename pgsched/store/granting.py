"""What each kind of role must be allowed, as SQL for whoever may grant it. Never grants anything itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from pgsched.store.operation import Operation, Query, drive
from pgsched.store.statement import Names, composed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

PUBLIC = "public"

OWNED = ("table", "failed_table", "workers_table", "leases_table", "migrations_table")
"""As `Names` calls them."""

KINDS = {
    "migrate": """\
-- {kind}: owns the tables and may change them. Before the first `pgsched migrate`, which it then runs.
create schema if not exists {schema};
grant create on schema {schema} to {role};
-- So that it may pass this on to the others:
grant usage on schema {schema} to {role} with grant option;
-- Where there are tables of somebody else's already:
{owning}
""",
    "worker": """\
-- {kind}: runs executions, and does whatever the commands do with them. After `pgsched migrate`.
grant usage on schema {schema} to {role};
grant select, insert, update, delete on {table}, {failed_table}, {workers_table}, {leases_table} to {role};
grant select on {migrations_table} to {role};
-- Postgres 17 and newer, if workers are to rebuild bloated indexes by themselves:
-- grant maintain on {table}, {failed_table}, {workers_table}, {leases_table} to {role};
""",
    "schedule": """\
-- {kind}: schedules. It can change and remove nothing, and read nothing but names, times and priorities.
-- After `pgsched migrate`.
grant usage on schema {schema} to {role};
grant insert (task_name, task_instance, task_data, execution_time, priority, trace_context) on {table} to {role};
-- Whether an instance is there already, and when a new one is due, is told by these:
grant select (task_name, task_instance, execution_time, priority) on {table} to {role};
""",
    "read": """\
-- {kind}: looks, and changes nothing: list, status, client.get. After `pgsched migrate`.
grant usage on schema {schema} to {role};
grant select on {table}, {failed_table}, {workers_table}, {leases_table}, {migrations_table} to {role};
""",
}
"""The kinds of roles, by the least that each needs. Identity columns need no right on their sequences."""


def grants(names: Names, roles: Mapping[str, str]) -> str:
    """The SQL for these roles, their names by kind. Without a schema in `names` it is `public`."""
    named = Names(names.table, names.schema or PUBLIC)
    identifiers = {**named.identifiers(), "schema": sql.Identifier(named.schema or PUBLIC)}
    return "\n".join(_of_kind(kind, role, identifiers) for kind, role in roles.items())


def schema_of(connection: psycopg.Connection[Any], names: Names) -> str | None:
    """Where the table is, or would be made by `migrate`."""
    return drive(connection, names, _table_schema(names), is_atomic=False)


def _of_kind(kind: str, role: str, identifiers: Mapping[str, sql.Composable]) -> str:
    known = {**identifiers, "kind": sql.SQL(kind), "role": sql.Identifier(role)}
    owning = "alter table if exists {{{0}}} owner to {{role}};"
    lines = sql.SQL("\n").join(composed(owning.format(key), known) for key in OWNED)
    return composed(KINDS[kind], {**known, "owning": lines}).as_string(None)


def _table_schema(names: Names) -> Operation[str | None]:
    [(schema,)] = yield Query("table_schema", {"table": names.quoted("table")})
    return None if schema is None else str(schema)
