"""Checks of the tables, their indexes, and what keeps old row versions in them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pgsched.doctor.finding import Finding, Fix, Severity, counted, listed, literal
from pgsched.domain.duration import rough_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgsched.doctor.known import Configured, Needs, Schema
    from pgsched.store.examining import Index, Lock, Pin, Server, Storage, Table, Wraparound

PINNED_FOR = timedelta(minutes=5)
"""Sooner it is somebody's report; from then on dead rows gather by the hundred thousand under load."""

LOCKED_FOR = timedelta(seconds=10)
"""A migration has such a lock for milliseconds, and tries for two seconds to get it."""

PINNED_FOR_LONG = timedelta(hours=1)

PINNED_TRANSACTIONS = 500_000
"""For what has no time: minutes under load, where a healthy standby tells every 10 s how far it is."""

DEAD_ROWS = 100_000
SWEPT_WITHIN = timedelta(minutes=10)
"""Under full load as many die between two vacuums as between two minutes: only what nobody sweeps is told."""

UNSWEPT = (
    "Every execution leaves dead rows behind: without a sweep all gets slower, until it stops."
)

INDEX_BYTES = 32 << 20
INDEX_BYTES_A_ROW = 2_000
"""Five times what an index entry of each index takes with names of usual length."""

OLD = 1_000_000_000
TOO_OLD = 1_600_000_000
"""From here on Postgres itself sees an emergency (vacuum_failsafe_age); at 2.1 thousand million it stops."""


def schema(schema: Schema, configured: Configured) -> Iterator[Finding]:
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
            explanation="Workers of this release do not start on this schema.",
            fix=Fix.shell(configured.command("migrate")),
            facts={"pending": schema.pending},
        )


def indexes(
    indexes: list[Index], tables: Mapping[str, Table], schema: Schema, needs: Needs
) -> Iterator[Finding]:
    """Every index that pgsched counts on is there and valid, and no broken one is left over."""
    if tables["table"].name is None or schema.pending:
        return  # `pgsched migrate` makes them
    for index in indexes:
        if index.is_usable:
            continue
        if index.is_being_built:
            yield Finding(
                severity=Severity.NOTE,
                title=f"Index {index.name} is not usable yet",
                explanation="It seems that it is being built right now.",
                facts={"index": index.name},
            )
        elif index.quoted is None:
            yield _unusable(index, "is missing", Fix.sql(needs.indexes[index.name]))
        elif index.name in needs.indexes:
            rebuilt = Fix.sql(f"reindex index concurrently {index.quoted}")
            yield _unusable(index, "is invalid", rebuilt)
        else:
            yield Finding(
                severity=Severity.WARNING,
                title=f"Index {index.name} is invalid",
                explanation="Its building was cut short: every write pays for it, and nobody reads it.",
                fix=Fix.sql(f"drop index concurrently {index.quoted}"),
                facts={"index": index.name},
            )


def _unusable(index: Index, how: str, fix: Fix) -> Finding:
    return Finding(
        severity=Severity.CRITICAL,
        title=f"Index {index.name} {how}",
        explanation="Whatever goes by it, such as picks or heartbeats, now reads the whole table "
        "instead of a few rows.",
        fix=fix,
        facts={"index": index.name},
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
            "and whatever reads them slows down.",
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


def bloat(storage: Storage | None, tables: Mapping[str, Table]) -> Iterator[Finding]:
    """Dead rows are swept, and the indexes are not far larger than their rows need."""
    if storage is None:
        return
    table = tables["table"].name
    sizes = storage._asdict()
    facts = {key: sizes[key] for key in ("live_rows", "dead_rows", "table_bytes", "index_bytes")}
    is_swept = storage.vacuumed_ago is not None and storage.vacuumed_ago < SWEPT_WITHIN
    if storage.dead_rows > max(DEAD_ROWS, 2 * storage.live_rows) and not is_swept:
        when = (
            "never"
            if storage.vacuumed_ago is None
            else f"{rough_duration(storage.vacuumed_ago)} ago"
        )
        yield Finding(
            severity=Severity.WARNING,
            title=f"{storage.dead_rows:,} dead rows beside {storage.live_rows:,} live ones",
            explanation=f"The table was last vacuumed: {when}. Who reads it passes over all of them.",
            fix=Fix.sql(f"vacuum (analyze) {table}"),
            facts=facts,
        )
    elif storage.index_bytes > max(INDEX_BYTES, INDEX_BYTES_A_ROW * storage.live_rows):
        yield Finding(
            severity=Severity.NOTE,
            title=f"The indexes take {storage.index_bytes >> 20:,} MB for {counted(storage.live_rows, 'row')}",
            explanation="They grew when there were more rows, or more dead ones, and do not shrink by themselves.",
            fix=Fix.sql(f"reindex table concurrently {table}"),
            facts=facts,
        )


def autovacuum(
    settings: Mapping[str, str],
    storage: Storage | None,
    tables: Mapping[str, Table],
    schema: Schema,
    needs: Needs,
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
    if options.get("autovacuum_enabled") in {"off", "false", "no", "0"}:
        yield Finding(
            severity=Severity.CRITICAL,
            title=f"Autovacuum is off for {table}",
            explanation=UNSWEPT,
            fix=Fix.sql(f"alter table {table} reset (autovacuum_enabled)"),
        )
    missing = {name: value for name, value in needs.options.items() if name not in options}
    if missing and not schema.pending:
        wanted = ", ".join(f"{name} = {value}" for name, value in missing.items())
        yield Finding(
            severity=Severity.WARNING,
            title=f"The table lacks options that migrations gave it: {listed(missing)}",
            explanation="With the server's defaults a queue is swept too rarely, and has no room for heartbeats.",
            fix=Fix.sql(f"alter table {table} set ({wanted})"),
            facts={"missing": missing},
        )


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
