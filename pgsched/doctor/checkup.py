"""All checks: what each needs is looked up once, what can't be had leaves out those that need it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from pgsched.doctor import executions, server, tables, workers
from pgsched.doctor.finding import Finding, Severity
from pgsched.doctor.known import Machine, Pooling, Schema, time_zone_release
from pgsched.errors import DatabaseUnavailable, SchemaMismatch
from pgsched.store import examining
from pgsched.store.examining import Unknown, bounded, look
from pgsched.store.indexes import repairs
from pgsched.store.migrating import pending, table_options
from pgsched.store.operation import drive
from pgsched.store.pooling import is_pooled, loses_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from psycopg import Connection

    from pgsched.doctor.known import Configured
    from pgsched.store.statement import Names

Check: TypeAlias = "Callable[..., Iterable[Finding]]"
"""Named as its function; its docstring says what is so when all is well; its parameters are the facts it needs."""

CHECKS: tuple[Check, ...] = (
    server.server,
    server.privileges,
    server.durability,
    server.timeouts,
    server.connections,
    server.pooler,
    tables.schema,
    tables.indexes,
    tables.additions,
    tables.locks,
    tables.transactions,
    tables.bloat,
    tables.autovacuum,
    tables.wraparound,
    workers.workers,
    workers.progress,
    workers.versions,
    workers.clocks,
    workers.wake_ups,
    workers.notification_queue,
    executions.task_modules,
    executions.unknown_tasks,
    executions.late_tasks,
    executions.recurring_tasks,
    executions.failing_tasks,
    executions.stuck_executions,
    executions.failed_executions,
    executions.time_zones,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a check: `unknown` says why it could not be made."""

    check: str
    looks_at: str
    findings: tuple[Finding, ...] = ()
    unknown: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Every check's result, in their order."""

    results: tuple[Result, ...]

    @property
    def findings(self) -> list[tuple[str, Finding]]:
        """With the names of their checks, the worst first."""
        found = [(result.check, each) for result in self.results for each in result.findings]
        return sorted(found, key=lambda pair: [*Severity].index(pair[1].severity))

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong: notes don't count."""
        return all(finding.severity is Severity.NOTE for _, finding in self.findings)


def check_up(
    connection: Connection[Any],
    names: Names,
    configured: Configured,
    clock: Callable[[], datetime],
) -> Report:
    """Look, and judge. `clock` tells this machine's time. Raises: DatabaseUnavailable."""
    facts = _gather(connection, names, configured, clock)
    return Report(tuple(_made(check, facts) for check in CHECKS))


def name_of(check: Check) -> str:
    """As people read it."""
    return check.__name__.replace("_", "-")


def purpose_of(check: Check) -> str:
    """What is so where it finds nothing."""
    return inspect.getdoc(check) or ""


def _made(check: Check, facts: Mapping[str, object]) -> Result:
    needed = [facts[name] for name in inspect.signature(check).parameters]
    missing = next((fact for fact in needed if isinstance(fact, Unknown)), None)
    findings = () if missing else tuple(check(*needed))
    return Result(
        check=name_of(check),
        looks_at=purpose_of(check),
        findings=findings,
        unknown=missing.reason if missing else None,
    )


def _gather(
    connection: Connection[Any],
    names: Names,
    configured: Configured,
    clock: Callable[[], datetime],
) -> Mapping[str, object]:
    operations = {
        "server": examining.server(),
        "settings": examining.settings(),
        "tables": examining.tables(names),
        "connections": examining.connections(),
        "notifications": examining.notifications(),
        "additions": examining.additions(names),
        "storage": examining.storage(names),
        "wraparound": examining.wraparound(),
        "pins": examining.pins(tables.PINNED_FOR, tables.PINNED_TRANSACTIONS),
        "locks": examining.locks(names, tables.LOCKED_FOR),
        "workers": examining.workers(),
        "queue": examining.queue(),
        "recurring": examining.recurring(configured.recurring),
        "held": examining.held(),
        "failed": examining.failed(),
    }
    facts = {
        **{name: look(connection, names, asked) for name, asked in operations.items()},
        "schema": bounded(connection, names, lambda: _schema(connection, names)),
        "machine": bounded(connection, names, lambda: _machine(connection, names, clock)),
        "pooling": _pooling(connection),
        "repairs": bounded(connection, names, lambda: repairs(connection, names)),
        "wanted_options": table_options(),
        "configured": configured,
    }
    return facts | _not_made(facts["tables"])


def _not_made(tables: object) -> dict[str, Unknown]:
    """What there is nothing to know of without the table: of an empty database it would be said to be well."""
    if not isinstance(tables, dict) or tables["table"].name is not None:
        return {}
    missing = Unknown("there is no table, or none that this role may see")
    return dict.fromkeys(("repairs", "additions", "locks", "storage"), missing)


def _schema(connection: Connection[Any], names: Names) -> Schema:
    try:
        found = pending(connection, table=names.table, schema=names.schema)
    except SchemaMismatch as error:
        return Schema([], error.reason)
    return Schema([f"{each.version:04} {each.name}" for each in found], None)


def _machine(connection: Connection[Any], names: Names, clock: Callable[[], datetime]) -> Machine:
    """The database's time lies somewhere between two looks at our own clock."""
    before = clock()
    database = drive(connection, names, examining.clock(), is_atomic=False)
    after = clock()
    half = (after - before) / 2
    return Machine(after, before + half - database, half, time_zone_release())


def _pooling(connection: Connection[Any]) -> Pooling | Unknown:
    """Opens another connection to see: there may be none left."""
    try:
        return Pooling(is_pooled(connection), loses_session(connection))
    except DatabaseUnavailable as error:
        return Unknown(error.reason)
