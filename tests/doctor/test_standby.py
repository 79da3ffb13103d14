"""A primary and its standby: what a standby keeps from being swept, what its slot does, and who is sent to it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgsched.doctor import tables
from pgsched.doctor.finding import Severity
from pgsched.store.migrating import migrate
from tests.doctor.patient import NAMES, TABLE, Patient
from tests.faults.nodes import Cluster
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator

    from pgsched.doctor.finding import Finding
    from tests.faults.nodes import Node

BURN = "do $$ begin for n in 1 .. 100 loop perform txid_current(); commit; end loop; end $$"


@pytest.fixture(scope="module")
def cluster() -> Generator[Cluster]:
    cluster = Cluster()
    with closing(cluster):
        with psycopg.connect(cluster.primary.conninfo, autocommit=True) as connection:
            migrate(connection, table=NAMES.table, schema=NAMES.schema)
        with closing(cluster.follow()):
            yield cluster


def pinned(node: Node) -> list[Finding]:
    found = Patient(node.conninfo).report().findings
    return [finding for check, finding in found if check == "transactions"]


def set_on(node: Node, **settings: str) -> None:
    for name, value in settings.items():
        node.sql(f"alter system set {name} = '{value}'")
    node.sql("select pg_reload_conf()")


def test_what_a_standby_and_its_slot_keep(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "PINNED_TRANSACTIONS", 50)
    primary, standby = Patient(cluster.primary.conninfo), cluster.standby
    assert standby is not None
    set_on(standby, hot_standby_feedback="on", wal_receiver_status_interval="1s")
    with psycopg.connect(standby.conninfo) as reading:
        reading.execute("set transaction isolation level repeatable read")
        reading.execute(f"select from {TABLE}".encode())
        wait_until(
            lambda: primary.sql("select 1 from pg_stat_replication where backend_xmin is not null"),
            describe="the standby's word",
        )
        primary.sql(BURN)
        [finding] = wait_until(lambda: pinned(cluster.primary), describe="it to be found")
        assert finding.title.startswith("Standby 'walreceiver' keeps what died since")
        Patient(standby.conninfo).mend(finding)
        wait_until(lambda: not pinned(cluster.primary), describe="the standby to let go")
        reading.close()

    primary.sql("select pg_create_physical_replication_slot('of_the_standby')")
    set_on(standby, primary_slot_name="of_the_standby")
    wait_until(
        lambda: primary.sql("select 1 from pg_replication_slots where xmin is not null"),
        describe="the slot to be used",
    )
    standby.kill()
    primary.sql(BURN)
    [finding] = wait_until(
        lambda: [each for each in pinned(cluster.primary) if "inactive" in each.title],
        describe="it to be found",
    )
    assert finding.title.startswith("Replication slot 'of_the_standby' (inactive) keeps")
    primary.mend(finding)
    assert pinned(cluster.primary) == []


def test_a_worker_is_sent_to_a_standby(cluster: Cluster) -> None:
    """And all that can be seen there is looked at all the same."""
    assert cluster.standby is not None
    cluster.standby.start()
    report = Patient(cluster.standby.conninfo).report()
    assert [(check, finding.severity) for check, finding in report.findings] == [
        ("server", Severity.CRITICAL),
        ("durability", Severity.CRITICAL),  # for the sake of speed
    ]
    assert {each.check: each.unknown for each in report.results if each.unknown} == {}
