"""Checks of the tables, their indexes, and what keeps old row versions in them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pgsched.doctor.finding import Finding, Fix, Severity, counted, listed, literal
from pgsched.domain.duration import rough_duration
from pgsched.store.indexes import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgsched.doctor.known import Configured, Schema
    from pgsched.store.examining import Addition, Lock, Pin, Server, Storage, Table, Wraparound
    from pgsched.store.indexes import Repair

PINNED_FOR = timedelta(minutes=5)
"""Sooner it is somebody's report; from then on dead rows gather by the hundred thousand under load."""

SLOT_IS_LAST = (
    " Whoever reads from the slot can't go on after it is dropped: drop it only if they are gone."
)

LOCKED_FOR = timedelta(seconds=10)
"""A migration has such a lock for milliseconds, and tries for two seconds to get it."""

PINNED_FOR_LONG = timedelta(hours=1)

PINNED_TRANSACTIONS = 500_000
"""For what has no time: minutes under load, where a healthy standby tells every 10 s how far it is."""

DEAD_ROWS = 100_000
SWEPT_WITHIN = timedelta(minutes=10)
"""Under full load as many die between two vacuums as between two minutes: only what nobody sweeps is told."""

WITHOUT = {
    "trigger": "alter table {table} disable trigger {name}",
    "rule": "alter table {table} disable rule {name}",
    **dict.fromkeys(
        ("foreign key", "check constraint", "unique constraint", "exclusion constraint"),
        "alter table {table} drop constraint {name}",
    ),
    "unique index": "drop index concurrently {name}",
}
"""What keeps each kind of addition from its work: disabled where that can be."""

UNSWEPT = (
    "Every execution leaves dead rows behind: without a sweep all gets slower, until it stops."
)

OLD = 1_000_000_000
TOO_OLD = 1_600_000_000
"""From here on Postgres itself sees an emergency (vacuum_failsafe_age); at 2.1 thousand million it stops."""


def schema(
    schema: Schema, server: Server, tables: Mapping[str, Table], configured: Configured
) -> Iterator[Finding]:
    """The schema is at the version that this release works with."""
    if schema.problem is not None:
        yield Finding(
            severity=Severity.CRITICAL,
            title="The schema is newer than this release",
            explanation=f"{schema.problem}.",
            fix=Fix.shell("pip install --upgrade pgsched"),
        )
    if schema.pending:
        yield Finding(
            severity=Severity.CRITICAL,
            title=f"{counted(len(schema.pending), 'migration')} pending",
            explanation="Workers of this release do not start on this schema."
            + ("" if any(table.name for table in tables.values()) else f" {_nothing_in(server)}"),
            fix=Fix.shell(configured.command("migrate")),
            facts={"pending": schema.pending},
        )

    missing = [table.wanted for table in tables.values() if table.name is None]
    if missing and schema.problem is None and not schema.pending:
        yield Finding(
            severity=Severity.CRITICAL,
            title=f"{counted(len(missing), 'table')} missing that migrations have made: {listed(missing)}",
            explanation="Somebody has dropped or renamed it, and `pgsched migrate` does not make it again: restore it.",
            facts={"missing": missing},
        )


def _nothing_in(server: Server) -> str:
    return (
        f"There is no table of pgsched where this role looks in database {server.database}: "
        "is it the right one, and are database.schema and database.table?"
    )


def indexes(
    repairs: list[Repair], tables: Mapping[str, Table], configured: Configured
) -> Iterator[Finding]:
    """Every index that pgsched counts on is there and valid, and no broken one is left over."""
    has_tables = all(table.name for table in tables.values())
    for repair in repairs:
        if repair.reason is Reason.BLOATED:
            continue  # told by the check of bloat
        if repair.reason is Reason.MISSING and not has_tables:
            continue  # told by the check of the schema
        if repair.is_being_built:
            yield Finding(
                severity=Severity.NOTE,
                title=f"Index {repair.name} is not usable yet",
                explanation="It seems that it is being built right now.",
                facts={"index": repair.name},
            )
            continue
        is_needed = repair.reason in {Reason.MISSING, Reason.INVALID}
        yield Finding(
            severity=Severity.CRITICAL if is_needed else Severity.WARNING,
            title=f"Index {repair.name} is {'missing' if repair.reason is Reason.MISSING else 'invalid'}",
            explanation="Whatever goes by it, such as picks or heartbeats, now reads the whole table "
            "instead of a few rows."
            if is_needed
            else "Its building was cut short: every write pays for it, and nobody reads it.",
            fix=_index_fix([repair], configured),
            facts={"index": repair.name},
        )


def _index_fix(repairs: list[Repair], configured: Configured) -> Fix:
    """Our own command, but for what is not its business, and where a pooler would lose its lock."""
    if configured.is_pooled or any(repair.reason is Reason.NOT_OURS for repair in repairs):
        return Fix.sql(*(repair.sql for repair in repairs))
    return Fix.shell(configured.command("maintenance"))


def additions(additions: list[Addition]) -> Iterator[Finding]:
    """Nothing that somebody has added to the tables can refuse a write: trigger, rule, constraint, unique index."""
    for each in additions:
        yield Finding(
            severity=Severity.WARNING,
            title=f"{each.kind.capitalize()} {each.name} on {each.table} is not pgsched's, and may refuse its writes",
            explanation="Heartbeats, recoveries and completions of many executions are written by one statement: where "
            f"the {each.kind} refuses one row, or fails, none of them is written.",
            fix=Fix.sql(WITHOUT[each.kind].format(name=each.name, table=each.table)),
            facts=each._asdict(),
        )


def locks(locks: list[Lock]) -> Iterator[Finding]:
    """Nobody has locked the tables so that others can't write them."""
    for lock in locks:
        since = "" if lock.locked_for is None else f", for {rough_duration(lock.locked_for)}"
        who = ", ".join(filter(None, (f"pid {lock.pid}", f"user {lock.user}", lock.application)))
        yield Finding(
            severity=Severity.CRITICAL,
            title=f"Table {lock.table} is locked{since} ({who})",
            explanation="Nothing can be picked, completed or scheduled until that transaction ends.",
            fix=Fix.sql(f"select pg_terminate_backend({lock.pid})"),
            facts={"pid": lock.pid, "user": lock.user, "application": lock.application},
        )


def transactions(pins: list[Pin], server: Server) -> Iterator[Finding]:
    """Nothing old keeps dead row versions from being swept: transactions, prepared ones, slots, standbys."""
    for pin in pins:
        is_long = pin.open_for is not None and pin.open_for >= PINNED_FOR_LONG
        yield Finding(
            severity=Severity.CRITICAL if is_long else Severity.WARNING,
            title=_pin_title(pin),
            explanation="No row version that died since then can be swept: tables and indexes grow, "
            "and whatever reads them slows down."
            + (SLOT_IS_LAST if pin.kind == "replication slot" else ""),
            fix=_pin_fix(pin),
            facts={
                **pin._asdict(),
                "open_for": None if pin.open_for is None else pin.open_for.total_seconds(),
            },
        )
    if not server.sees_everybody:
        yield Finding(
            severity=Severity.NOTE,
            title=f"Role {server.role} can't see what other roles' sessions do",
            explanation="Their old transactions would be missed here.",
            fix=Fix.sql(f"grant pg_read_all_stats to {server.role}"),
        )


def _pin_title(pin: Pin) -> str:
    since = f"{counted(pin.transactions or 0, 'transaction')} ago"
    match pin.kind:
        case "transaction":
            assert pin.open_for is not None
            who = ", ".join(filter(None, (f"pid {pin.name}", f"user {pin.user}", pin.application)))
            return f"A transaction has been open for {rough_duration(pin.open_for)} ({who}; {pin.state})"
        case "prepared transaction":
            assert pin.open_for is not None
            ago = rough_duration(pin.open_for)
            return f"Transaction {pin.name!r} of {pin.user} was prepared {ago} ago, and never ended"
        case "replication slot":
            return f"Replication slot {pin.name!r} ({pin.state}) keeps what died since {since}"
        case _:
            return f"Standby {pin.application or pin.name!r} keeps what died since {since}"


def _pin_fix(pin: Pin) -> Fix:
    match pin.kind:
        case "transaction":
            return Fix.sql(f"select pg_terminate_backend({pin.name})")
        case "prepared transaction":
            return Fix.sql(f"rollback prepared {literal(pin.name)}")
        case "replication slot" if pin.state == "inactive":
            return Fix.sql(f"select pg_drop_replication_slot({literal(pin.name)})")
        case _:
            return Fix.sql(
                "/* on the standby */ select pg_terminate_backend(pid) from pg_stat_activity"
                " where backend_xmin is not null and pid <> pg_backend_pid() order by xact_start limit 1"
            )


def bloat(
    storage: Storage | None,
    repairs: list[Repair],
    tables: Mapping[str, Table],
    configured: Configured,
) -> Iterator[Finding]:
    """Dead rows are swept, and the indexes are not far larger than their rows need."""
    bloated = [repair for repair in repairs if repair.reason is Reason.BLOATED]
    if storage is not None and _is_unswept(storage):
        ago = storage.vacuumed_ago
        when = "never" if ago is None else f"{rough_duration(ago)} ago"
        yield Finding(
            severity=Severity.WARNING,
            title=f"{storage.dead_rows:,} dead rows beside {storage.live_rows:,} live ones",
            explanation=f"The table was last vacuumed: {when}. Who reads it passes over all of them.",
            fix=Fix.sql(f"vacuum (analyze) {tables['table'].name}"),
            facts={key: getattr(storage, key) for key in ("live_rows", "dead_rows", "table_bytes")},
        )
    elif bloated:
        size_bytes = sum(repair.size_bytes for repair in bloated)
        needed_bytes = sum(repair.needed_bytes for repair in bloated)
        names = [repair.name for repair in bloated]
        yield Finding(
            severity=Severity.NOTE,
            title=f"The indexes have {(size_bytes - needed_bytes) >> 20:,} MB more than their rows need",
            explanation=f"{listed(names)}: grown when there were more rows, or more dead ones, and indexes do not "
            "shrink by themselves.",
            fix=_index_fix(bloated, configured),
            facts={"indexes": names, "size_bytes": size_bytes, "needed_bytes": needed_bytes},
        )


def _is_unswept(storage: Storage) -> bool:
    is_swept = storage.vacuumed_ago is not None and storage.vacuumed_ago < SWEPT_WITHIN
    return storage.dead_rows > max(DEAD_ROWS, 2 * storage.live_rows) and not is_swept


def autovacuum(
    settings: Mapping[str, str],
    storage: Storage | None,
    tables: Mapping[str, Table],
    schema: Schema,
    wanted_options: Mapping[str, str],
) -> Iterator[Finding]:
    """Autovacuum is on, and as quick for the table as the migrations made it."""
    for name in ("autovacuum", "track_counts"):
        if settings[name] == "off":
            yield Finding(
                severity=Severity.CRITICAL,
                title=f"{name} is off on the whole server",
                explanation=UNSWEPT,
                fix=Fix.sql(f"alter system set {name} = on", "select pg_reload_conf()"),
            )
    if storage is None:
        return
    table = tables["table"].name
    options = dict(option.split("=", 1) for option in storage.options)
    if _is_off(options.get("autovacuum_enabled", "on")):
        yield Finding(
            severity=Severity.CRITICAL,
            title=f"Autovacuum is off for {table}",
            explanation=UNSWEPT,
            fix=Fix.sql(f"alter table {table} reset (autovacuum_enabled)"),
        )
    missing = {name: value for name, value in wanted_options.items() if name not in options}
    if missing and not schema.pending:
        wanted = ", ".join(f"{name} = {value}" for name, value in missing.items())
        yield Finding(
            severity=Severity.WARNING,
            title=f"The table lacks options that migrations gave it: {listed(missing)}",
            explanation="With the server's defaults a queue is swept too rarely, and has no room for heartbeats.",
            fix=Fix.sql(f"alter table {table} set ({wanted})"),
            facts={"missing": missing},
        )


def _is_off(option: str) -> bool:
    """Kept as it was written, which may be in capitals, or the beginning of a word."""
    return any(word.startswith(option.lower()) for word in ("off", "false", "no", "0"))


def wraparound(wraparound: Wraparound) -> Iterator[Finding]:
    """The oldest transaction that the database still tells apart is far from too old."""
    if wraparound.database_age < OLD or wraparound.table_age < OLD:
        return
    yield Finding(
        severity=Severity.CRITICAL if wraparound.table_age >= TOO_OLD else Severity.WARNING,
        title=f"Table {wraparound.table} has rows from {wraparound.table_age:,} transactions ago",
        explanation="At 2,100,000,000 Postgres takes no more writes. Autovacuum should have been here long ago: "
        "look also for what keeps it from sweeping.",
        fix=Fix.sql(f"vacuum (freeze) {wraparound.table}"),
        facts=wraparound._asdict(),
    )
