"""Faults of the tables: each is made, found by its own check alone, and mended as the finding says."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgsched.doctor import tables
from pgsched.doctor.finding import Fix, Severity
from pgsched.doctor.known import Configured
from tests.doctor.patient import NAMES, TABLE, WORKERS, Patient
from tests.waiting import wait_until

CRITICAL, WARNING, NOTE = Severity.CRITICAL, Severity.WARNING, Severity.NOTE

ORDER = 'idx_My "Jobs"_order'
ORDER_QUOTED = '"own schema"."idx_My ""Jobs""_order"'


def mended(patient: Patient, check: str, severity: Severity) -> str:
    """Answers the title of what was found and is gone."""
    finding = patient.finding(check)
    assert finding.severity is severity
    patient.mend(finding)
    assert patient.found() == []
    return finding.title


def test_a_healthy_database_gives_nothing(patient: Patient) -> None:
    report = patient.report()
    assert report.findings == []
    assert {result.check: result.unknown for result in report.results if result.unknown} == {}


def test_an_empty_database_may_be_the_wrong_one(patient: Patient) -> None:
    """Migrating it would make a second table that no worker looks at."""
    patient.sql('drop schema "own schema" cascade')
    explanation = patient.finding("schema").explanation
    [(database,)] = patient.sql("select current_database()")
    assert f"no table of pgsched where this role looks in database {database}" in explanation


def test_pending_migrations(patient: Patient) -> None:
    """What they would make is not told to be missing."""
    history = NAMES.quoted("migrations_table")
    patient.sql(f"delete from {history} where version = 5", f"drop index {ORDER_QUOTED}")
    assert mended(patient, "schema", CRITICAL) == "1 migration pending"


def test_no_tables_at_all(patient: Patient) -> None:
    """What can't be looked at is said to be unknown, not to be well."""
    patient.sql('drop schema "own schema" cascade')
    report = patient.report()
    assert [check for check, _ in report.findings] == ["schema"]
    unknown = {result.check for result in report.results if result.unknown}
    assert {"workers", "unknown-tasks", "stuck-executions"} <= unknown
    assert {"indexes", "additions", "locks", "bloat", "autovacuum"} <= unknown
    patient.mend(report.findings[0][1])
    assert patient.found() == []


@pytest.mark.parametrize("key", ["table", "failed_table", "leases_table"])
def test_a_table_that_somebody_has_dropped(patient: Patient, key: str) -> None:
    """The version table says that it is there: what mends a missing index would fail."""
    patient.sql(f"drop table {NAMES.quoted(key)}")
    finding = patient.finding("schema")
    assert finding.severity is CRITICAL
    assert finding.facts["missing"] == [getattr(NAMES, key)]


def test_a_schema_that_is_too_new(patient: Patient) -> None:
    history = NAMES.quoted("migrations_table")
    patient.sql(f"insert into {history} (version, name, works_with) values (99, 'x', 99)")
    finding = patient.finding("schema")
    assert "version 99" in finding.explanation


@pytest.mark.parametrize("name", NAMES.index_names())
def test_a_missing_index(patient: Patient, name: str) -> None:
    quoted = name.replace('"', '""')
    patient.sql(f'drop index "own schema"."{quoted}"')
    assert mended(patient, "indexes", CRITICAL) == f"Index {name} is missing"


def test_an_invalid_index(patient: Patient) -> None:
    patient.sql(
        f"update pg_index set indisvalid = false where indexrelid = '{ORDER_QUOTED}'::regclass"
    )
    assert mended(patient, "indexes", CRITICAL) == f"Index {ORDER} is invalid"


def test_an_index_that_a_rebuild_has_left(patient: Patient) -> None:
    """Of a side table, too: it is told as what it is, and goes with the same command."""
    left = f'"{NAMES.workers_table}_pkey_ccnew"'.replace('My "Jobs"', 'My ""Jobs""')
    patient.sql(f"create unique index {left} on {WORKERS} (worker)")
    patient.sql(
        "update pg_index set indisvalid = false"
        f" where indexrelid = '\"own schema\".{left}'::regclass"
    )
    title = mended(patient, "indexes", WARNING)
    assert title == f"Index {NAMES.workers_table}_pkey_ccnew is invalid"


def test_what_mends_an_index_is_our_command_where_it_can(patient: Patient) -> None:
    """Not where a pooler would lose its lock, nor for an index of somebody else's."""
    patient.sql(f"drop index {ORDER_QUOTED}")
    directly = Configured(file="its config.yaml", has_dsn=True)
    assert patient.finding("indexes", directly).fix == Fix.shell(
        "pgsched maintenance --config 'its config.yaml' --dsn DSN"
    )
    pooled = patient.finding("indexes", Configured(is_pooled=True))
    assert pooled.fix is not None
    assert pooled.fix.lines[0].startswith("create index concurrently")
    patient.mend(pooled)
    assert patient.found() == []


def test_a_later_release_may_do_without_an_index(patient: Patient) -> None:
    """One that works with this one; what it has dropped must not be built again."""
    history = NAMES.quoted("migrations_table")
    patient.sql(
        f"insert into {history} (version, name, works_with) values (99, 'x', 1)",
        f"drop index {ORDER_QUOTED}",
    )
    assert patient.found() == []


def test_an_index_left_half_built(patient: Patient) -> None:
    patient.execution("a", "1")
    patient.execution("a", "2", execution_time="2100-01-01T00:00:00Z")
    patient.execution("b", "2", execution_time="2100-01-01T00:00:00Z")
    with pytest.raises(psycopg.errors.UniqueViolation):
        patient.sql(f"create unique index concurrently somebodys on {TABLE} (task_name)")
    assert mended(patient, "indexes", WARNING) == "Index somebodys is invalid"


def test_an_index_that_is_being_built_is_no_fault(patient: Patient) -> None:
    patient.sql(
        f"update pg_index set indisvalid = false where indexrelid = '{ORDER_QUOTED}'::regclass"
    )
    building = f"lock table {TABLE} in share update exclusive mode"
    with patient.open_transaction(building):
        assert patient.found() == [("indexes", NOTE)]


def test_a_lock_that_keeps_everybody_out(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The looks that wait for it are given up, and the others made."""
    monkeypatch.setattr(tables, "LOCKED_FOR", tables.LOCKED_FOR * 0)
    with patient.open_transaction(f"lock table {TABLE} in access exclusive mode"):
        report = patient.report()
        assert [check for check, _ in report.findings] == ["locks"]
        unknown = {result.check: result.unknown for result in report.results if result.unknown}
        assert "lock timeout" in str(unknown["unknown-tasks"])
        patient.mend(report.findings[0][1])
        wait_until(lambda: not patient.found(), describe="the lock to be gone")


def test_an_old_transaction(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    with patient.open_transaction(
        f"set transaction isolation level repeatable read; select from {TABLE}"
    ):
        assert patient.found() == [], "a young one"
        monkeypatch.setattr(tables, "PINNED_FOR", tables.PINNED_FOR * 0)
        finding = patient.finding("transactions")
        assert finding.severity is WARNING
        assert "user postgres, a report; idle in transaction" in finding.title
        monkeypatch.setattr(tables, "PINNED_FOR_LONG", tables.PINNED_FOR_LONG * 0)
        assert patient.finding("transactions").severity is CRITICAL
        patient.mend(finding)
        wait_until(lambda: not patient.found(), describe="the transaction to be gone")


def test_a_parallel_query_is_one_transaction(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its helpers end with it."""
    monkeypatch.setattr(tables, "PINNED_FOR", tables.PINNED_FOR * 0)
    with patient.open_transaction() as session:
        since_16 = session.info.server_version >= 160_000
        forced = "debug_parallel_query" if since_16 else "force_parallel_mode"
        session.execute(f"set {forced} = on".encode())
        asking = threading.Thread(target=lambda: asked(session, "select pg_sleep(60)"))
        asking.start()
        helpers = "select pid from pg_stat_activity where backend_type = 'parallel worker'"
        wait_until(lambda: patient.sql(helpers), describe="the helper")
        patient.mend(patient.finding("transactions"))
        asking.join(10)
        wait_until(lambda: not patient.found(), describe="the transaction to be gone")


def asked(session: psycopg.Connection[Any], statement: str) -> None:
    """Until somebody ends it."""
    with suppress(psycopg.OperationalError):
        session.execute(statement.encode())


def test_what_pins_nothing_is_not_told(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle transaction with neither a snapshot nor a transaction id, and one of another database."""
    monkeypatch.setattr(tables, "PINNED_FOR", tables.PINNED_FOR * 0)
    elsewhere = make_conninfo(patient.conninfo, dbname="postgres")
    with (
        patient.open_transaction("select 1"),
        Patient(elsewhere).open_transaction("select txid_current()"),
    ):
        assert patient.found() == []


def test_a_transaction_prepared_and_forgotten(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "PINNED_FOR", tables.PINNED_FOR * 0)
    with patient.open_transaction("select pg_current_xact_id()", "prepare transaction 'it''s'"):
        pass
    assert mended(patient, "transactions", WARNING).startswith('Transaction "it\'s" of postgres')


def test_a_role_that_does_not_see_everybody(patient: Patient, role: str) -> None:
    patient.sql('revoke pg_read_all_stats from "a ""Worker"""')
    finding = patient.finding("transactions", user=role)
    assert finding.severity is NOTE
    patient.mend(finding)
    assert patient.found(user=role) == []


def test_dead_rows_that_nobody_sweeps_and_indexes_that_stay_large(patient: Patient) -> None:
    """The instances are long, so that few rows make large indexes."""
    unswept = f"alter table {TABLE} set (autovacuum_enabled = off)"
    patient.sql("set synchronous_commit = off", unswept)
    patient.sql(
        f"insert into {TABLE} (task_name, task_instance, execution_time)"
        " select 't', repeat(md5(n::text), 10), now() + interval '1 day' from generate_series(1, 105000) as n",
        f"delete from {TABLE}",
    )
    patient.sql(f"alter table {TABLE} reset (autovacuum_enabled)")
    wait_until(patient.found, describe="the statistics")
    finding = patient.finding("bloat")
    assert finding.severity is WARNING
    assert finding.title == "105,000 dead rows beside 0 live ones"
    patient.mend(finding)
    wait_until(lambda: patient.found() != [("bloat", WARNING)], describe="the statistics")
    assert mended(patient, "bloat", NOTE).startswith("The indexes have ")


def test_rows_that_nobody_has_counted_yet_are_no_bloat(patient: Patient) -> None:
    """A table that was counted when it was empty, and loaded since."""
    patient.sql(
        f"alter table {TABLE} set (autovacuum_enabled = off)",
        f"vacuum (analyze) {TABLE}",
        "set synchronous_commit = off",
        f"insert into {TABLE} (task_name, task_instance, execution_time)"
        " select 't', repeat(md5(n::text), 10), now() + interval '1 day' from generate_series(1, 50000) as n",
        f"alter table {TABLE} reset (autovacuum_enabled)",
    )
    live = f"select pg_stat_get_live_tuples('{TABLE}'::regclass)"
    wait_until(lambda: patient.sql(live) == [(50_000,)], describe="the statistics")
    assert patient.found() == []


@pytest.mark.parametrize("off", ["off", "'FALSE'", "'n'", "0"])
def test_autovacuum_is_off_for_the_table(patient: Patient, off: str) -> None:
    patient.sql(f"alter table {TABLE} set (autovacuum_enabled = {off})")
    mended(patient, "autovacuum", CRITICAL)


@pytest.mark.parametrize("name", ["autovacuum", "track_counts"])
def test_autovacuum_is_off_everywhere(patient: Patient, name: str) -> None:
    patient.sql(f"alter system set {name} = off", "select pg_reload_conf()")
    wait_until(patient.found, describe="the reload")
    patient.mend(patient.finding("autovacuum"))
    wait_until(lambda: not patient.found(), describe="the reload")


def test_the_table_has_lost_its_options(patient: Patient) -> None:
    patient.sql(f"alter table {TABLE} reset (fillfactor, vacuum_truncate)")
    title = mended(patient, "autovacuum", WARNING)
    assert title.endswith("'fillfactor', 'vacuum_truncate'")


def test_a_table_that_keeps_no_transactions_is_not_the_oldest(patient: Patient) -> None:
    """As that of a columnar store; the catalog is made to say so."""
    age = "((txid_current() - 1100000000 + (1::bigint << 32)) % (1::bigint << 32))::text::xid"
    patient.sql(
        "create table columnar (a int)",
        "update pg_class set relfrozenxid = '0' where relname = 'columnar'",
        f"alter table {TABLE} set (autovacuum_enabled = off)",
        f"update pg_class set relfrozenxid = {age} where oid = '{TABLE}'::regclass",
        f"update pg_database set datfrozenxid = {age} where datname = current_database()",
        f"alter table {TABLE} reset (autovacuum_enabled)",
    )
    finding = patient.finding("wraparound")
    assert finding.facts["table"] == TABLE
    patient.mend(finding)


@pytest.mark.parametrize(("age", "severity"), [("1100000000", WARNING), ("1700000000", CRITICAL)])
def test_wraparound_is_near(patient: Patient, age: str, severity: Severity) -> None:
    """The catalog is made to say so; nobody waits for a thousand million transactions."""
    old = f"((txid_current() - {age} + (1::bigint << 32)) % (1::bigint << 32))::text::xid"
    patient.sql(
        f"alter table {TABLE} set (autovacuum_enabled = off)",
        f"update pg_class set relfrozenxid = {old} where oid = '{TABLE}'::regclass",
        f"update pg_database set datfrozenxid = {old} where datname = current_database()",
        f"alter table {TABLE} reset (autovacuum_enabled)",
    )
    finding = patient.finding("wraparound")
    assert finding.severity is severity
    patient.mend(finding)
    assert patient.found() == []
