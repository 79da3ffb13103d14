"""Checks of the server, of what the role may do there, and of the way to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgsched.doctor.finding import Finding, Fix, Severity, counted
from pgsched.doctor.workers import living

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgsched.doctor.known import Configured, Pooling
    from pgsched.store.examining import Connections, SeenWorker, Server, Table

OLDEST = 140_000

SHORTEST_TIMEOUT_MS = 10_000
"""A batch takes milliseconds, but a process may be kept waiting for a processor in the middle of its transaction."""

FULL = 0.9

CONNECTIONS_A_WORKER = 3
"""Beside one a poller: the housekeeper's, the listener's, the reporter's."""


def server(server: Server) -> Iterator[Finding]:
    """The server is of a version that pgsched supports, a primary, and takes writes."""
    if server.version_number < OLDEST:
        yield Finding(
            severity=Severity.CRITICAL,
            title=f"Postgres {server.version} is too old",
            explanation="pgsched needs Postgres 14 or newer.",
            fix=Fix.shell("pg_upgrade   # to a newer Postgres: see its manual"),
            facts={"version": server.version},
        )
    if server.is_standby:
        yield Finding(
            severity=Severity.CRITICAL,
            title="The DSN leads to a standby",
            explanation="A standby takes no writes: workers that are sent here pick nothing. "
            "Name all hosts in the DSN; the primary is found among them, after a failover too.",
            fix=Fix.config("database.dsn: postgresql://USER@HOST1,HOST2/DATABASE"),
        )
    elif server.is_read_only:
        scope = f"role {server.role} in database {server.database}"
        yield Finding(
            severity=Severity.CRITICAL,
            title="The server takes no writes in our sessions",
            explanation="default_transaction_read_only is on: nothing can be picked, completed or scheduled.",
            fix=Fix.sql(
                "set default_transaction_read_only = off",
                f"alter {scope} set default_transaction_read_only = off",
            ),
        )


def privileges(
    server: Server, tables: Mapping[str, Table], configured: Configured
) -> Iterator[Finding]:
    """The role may read and write the tables, and no row security hides rows from it."""
    for table in tables.values():
        if table.name is None:
            continue
        is_history = table is tables["migrations_table"]
        lacking = [right for right in table.lacking if not is_history or right == "select"]
        if not table.is_schema_usable:
            yield _lacking(server, table, "usage", f"grant usage on schema {table.schema}")
        if lacking:
            rights = ", ".join(lacking)
            yield _lacking(server, table, rights, f"grant {rights} on {table.name}")
        if table.is_filtered:
            yield Finding(
                severity=Severity.WARNING,
                title=f"Row security hides rows of {table.name} from {server.role}",
                explanation="What a policy hides is never picked, and takes its key all the same.",
                fix=Fix.sql(f"alter table {table.name} disable row level security"),
                facts={"table": table.name, "role": server.role},
            )
    if server.is_superuser and configured.is_given:
        yield Finding(
            severity=Severity.NOTE,
            title=f"The configured role {server.role} is a superuser",
            explanation="Workers need to read and write a few tables, and tasks run with whatever they have.",
            facts={"role": server.role},
        )


def _lacking(server: Server, table: Table, rights: str, grant: str) -> Finding:
    return Finding(
        severity=Severity.CRITICAL,
        title=f"Role {server.role} lacks a right on {table.name}: {rights}",
        explanation="Workers read and write every table of pgsched, and stop at the first refusal.",
        fix=Fix.sql(f"{grant} to {server.role}"),
        facts={"table": table.name, "role": server.role, "lacking": rights.split(", ")},
    )


def durability(settings: Mapping[str, str], server: Server) -> Iterator[Finding]:
    """What was committed survives a crash of the server: fsync, full_page_writes and synchronous_commit are on."""
    for name in ("fsync", "full_page_writes"):
        if settings[name] == "off":
            yield Finding(
                severity=Severity.CRITICAL,
                title=f"{name} is off",
                explanation="A crash of the server's machine may corrupt the database, executions with it.",
                fix=Fix.sql(f"alter system set {name} = on", "select pg_reload_conf()"),
                facts={name: "off"},
            )
    if settings["synchronous_commit"] == "off":
        scope = f"role {server.role} in database {server.database}"
        yield Finding(
            severity=Severity.WARNING,
            title="synchronous_commit is off",
            explanation="A crash of the server loses the commits of its last moments: "
            "executions that were scheduled vanish, and what was completed runs again.",
            fix=Fix.sql(f"alter {scope} set synchronous_commit = on"),
            facts={"synchronous_commit": "off"},
        )


def timeouts(settings: Mapping[str, str], server: Server) -> Iterator[Finding]:
    """No setting ends a worker's transactions within seconds."""
    for name in ("transaction_timeout", "idle_in_transaction_session_timeout"):
        limit_ms = int(settings.get(name, 0))
        if not 0 < limit_ms < SHORTEST_TIMEOUT_MS:
            continue
        scope = f"role {server.role} in database {server.database}"
        yield Finding(
            severity=Severity.WARNING,
            title=f"{name} is {limit_ms} ms",
            explanation="A worker that waits for a processor that long loses its connection in the middle of a batch, "
            "and so does a task in context.transaction().",
            fix=Fix.sql(f"alter {scope} set {name} = '1min'"),
            facts={name: limit_ms},
        )


def connections(
    server: Server, connections: Connections, workers: list[SeenWorker]
) -> Iterator[Finding]:
    """There are connections left, for all that the workers need and for others."""
    needed = sum(worker.pollers + CONNECTIONS_A_WORKER for worker in living(workers))
    scopes = (
        ("the server", connections.server, connections.server_limit),
        (f"role {server.role}", connections.role, connections.role_limit),
        (f"database {server.database}", connections.database, connections.database_limit),
    )
    for where, used, limit in scopes:
        if limit is None or (server.is_superuser and where != "the server"):
            continue  # limits of roles and databases don't bind superusers
        wanted = max(used, used - connections.workers + needed)
        if wanted < FULL * limit:
            continue
        yield Finding(
            severity=Severity.CRITICAL if wanted > limit else Severity.WARNING,
            title=f"{counted(wanted, 'connection')} are needed of the {limit:,} that {where} allows",
            explanation=f"{used:,} are open; the workers need {needed:,} (one a poller and up to three a worker). "
            "Who gets none waits, and so do its executions. Fewer pollers, or a pooler, need fewer.",
            fix=_more_connections(where, 2 * wanted),
            facts={"used": used, "limit": limit, "needed_by_workers": needed},
        )


def _more_connections(where: str, enough: int) -> Fix:
    if where == "the server":
        return Fix.sql(
            f"/* and then restart the server */ alter system set max_connections = {enough}"
        )
    return Fix.sql(f"alter {where} connection limit {enough}")


def pooler(pooling: Pooling, configured: Configured) -> Iterator[Finding]:
    """What the configuration says of a pooler is so."""
    if not configured.is_given:
        return
    if pooling.loses_session and not configured.is_pooled:
        yield Finding(
            severity=Severity.CRITICAL,
            title="The DSN leads through a pooler in transaction mode, and the configuration doesn't say so",
            explanation="A worker with this configuration does not start.",
            fix=Fix.config("database.pooler: transaction"),
        )
    if configured.is_pooled and not pooling.is_pooled:
        yield Finding(
            severity=Severity.WARNING,
            title="The configuration tells of a pooler, and there is none",
            explanation="Workers listen for no notifications then: what is scheduled for now starts up to a "
            "polling interval late.",
            fix=Fix.config("database.pooler: null"),
        )
