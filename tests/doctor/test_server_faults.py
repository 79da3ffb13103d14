"""Faults of the server, of the rights there, and of the way to it: made, found, mended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgsched.doctor.finding import Severity
from pgsched.doctor.known import Configured
from pgsched.doctor.server import server
from pgsched.store.examining import Server
from tests.doctor.patient import NAMES, TABLE
from tests.pgbouncer import pgbouncer
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.doctor.patient import Patient

CRITICAL, WARNING, NOTE = Severity.CRITICAL, Severity.WARNING, Severity.NOTE

QUOTED_ROLE = '"a ""Worker"""'


def test_the_least_rights_are_enough(patient: Patient, role: str) -> None:
    assert patient.found(user=role) == []


@pytest.mark.parametrize("table", ["table", "failed_table", "workers_table", "leases_table"])
def test_a_right_is_lacking(patient: Patient, role: str, table: str) -> None:
    patient.sql(f"revoke insert, delete on {NAMES.quoted(table)} from {QUOTED_ROLE}")
    finding = patient.finding("privileges", user=role)
    assert finding.severity is CRITICAL
    assert (
        finding.title
        == f"Role {QUOTED_ROLE} lacks a right on {NAMES.quoted(table)}: insert, delete"
    )
    patient.mend(finding)
    assert patient.found(user=role) == []


def test_the_schema_may_not_be_used(patient: Patient, role: str) -> None:
    patient.sql(f'revoke usage on schema "own schema" from {QUOTED_ROLE}')
    findings = patient.report(user=role).findings
    assert {check for check, _ in findings} == {"privileges"}
    patient.mend(findings[0][1])
    assert patient.found(user=role) == []


def test_row_security_hides_rows(patient: Patient, role: str) -> None:
    patient.sql(f"alter table {TABLE} enable row level security")
    finding = patient.finding("privileges", user=role)
    assert finding.severity is WARNING
    patient.mend(finding)
    assert patient.found(user=role) == []


def test_a_worker_that_is_to_be_superuser(patient: Patient) -> None:
    assert patient.found(Configured(is_given=True)) == [("privileges", NOTE)]


def test_no_writes_are_taken(patient: Patient, role: str) -> None:
    """What mends it is itself run in a session that takes none."""
    patient.sql(database_setting("default_transaction_read_only", "on"))
    finding = patient.finding("server", user=role)
    assert finding.severity is CRITICAL
    patient.mend(finding)
    assert patient.found(user=role) == []


def test_commits_that_a_crash_loses(patient: Patient) -> None:
    patient.sql(database_setting("synchronous_commit", "off"))
    finding = patient.finding("durability")
    assert finding.severity is WARNING
    patient.mend(finding)
    assert patient.found() == []


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_a_crash_may_corrupt(patient: Patient, name: str) -> None:
    patient.sql(f"alter system set {name} = off", "select pg_reload_conf()")
    wait_until(patient.found, describe="the reload")
    finding = patient.finding("durability")
    assert finding.severity is CRITICAL
    patient.mend(finding)
    wait_until(lambda: not patient.found(), describe="the reload")


def test_transactions_that_are_ended_at_once(patient: Patient) -> None:
    patient.sql(database_setting("idle_in_transaction_session_timeout", "500ms"))
    finding = patient.finding("timeouts")
    assert finding.title == "idle_in_transaction_session_timeout is 500 ms"
    patient.mend(finding)
    assert patient.found() == []


def test_the_role_has_too_few_connections(patient: Patient, role: str) -> None:
    patient.sql(f"alter role {QUOTED_ROLE} connection limit 3")
    assert patient.found(user=role) == [], "enough for one who only looks"
    patient.worker(pollers=2)
    finding = patient.finding("connections", user=role)
    assert finding.severity is CRITICAL
    assert finding.facts["needed_by_workers"] == 5
    patient.mend(finding)
    assert patient.found(user=role) == []


def test_the_database_has_too_few_connections(patient: Patient, role: str) -> None:
    patient.worker(pollers=2)
    patient.sql(
        "do $$ begin execute format('alter database %I connection limit 4', current_database()); end $$"
    )
    finding = patient.finding("connections", user=role)
    assert patient.found() == [], "who is superuser gets in all the same"
    patient.mend(finding)
    assert patient.found(user=role) == []


def test_the_server_has_too_few_connections(patient: Patient) -> None:
    """What mends it takes a restart, which is left out here."""
    patient.worker(pollers=60)
    finding = patient.finding("connections")
    assert finding.severity is CRITICAL
    assert finding.title == "64 connections are needed of the 47 that the server allows"
    patient.mend(finding)
    assert patient.sql("select setting from pg_file_settings where name = 'max_connections'")[
        -1
    ] == ("128",)


def test_a_pooler_that_nobody_told_of(real_server: str, patient: Patient, role: str) -> None:
    with pgbouncer(real_server, "transaction") as pooler:
        through = pooler.conninfo(patient.conninfo)
        assert patient.found(conninfo=through) == [], "nothing is known of the workers' way"
        told = Configured(is_given=True, is_pooled=True)
        untold = Configured(is_given=True)
        assert ("pooler", CRITICAL) in patient.found(untold, conninfo=through)
        assert patient.found(told, conninfo=through) == [("privileges", NOTE)]
        assert patient.found(told, user=role) == [("pooler", WARNING)]


def test_a_version_that_is_too_old() -> None:
    """No such server is at hand."""
    old = Server(130_012, "13.12", False, False, "app", "app", False, True)
    [finding] = server(old)
    assert finding.severity is CRITICAL


def database_setting(name: str, value: str) -> str:
    return (
        "do $$ begin execute format("
        f"'alter database %I set {name} = ''{value}''', current_database()); end $$"
    )
