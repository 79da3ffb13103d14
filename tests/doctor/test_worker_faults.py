"""Faults of workers and of executions: made, found, and mended where words can do it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgsched import Every
from pgsched.doctor.executions import time_zones
from pgsched.doctor.finding import Severity
from pgsched.doctor.known import Configured, Machine, time_zone_release
from pgsched.domain.task import Task
from pgsched.embedded.binaries import find_binaries
from tests.doctor.patient import NAMES, TABLE

if TYPE_CHECKING:
    from tests.doctor.patient import Patient

CRITICAL, WARNING, NOTE = Severity.CRITICAL, Severity.WARNING, Severity.NOTE


def ago(**length: float) -> datetime:
    return datetime.now(UTC) - timedelta(**length)


def test_a_worker_that_is_well_gives_nothing(patient: Patient) -> None:
    patient.worker()
    patient.execution("known", execution_time=ago(seconds=30))
    patient.execution("unknown", execution_time=ago(days=-1))
    patient.execution("known", "default", execution_time=ago(minutes=1))
    patient.execution("known", "held", picked=True, picked_by="x/1", last_heartbeat=ago(minutes=4))
    assert patient.found() == []


@pytest.mark.parametrize(("minutes", "severity"), [(5, WARNING), (90, NOTE)])
def test_a_worker_that_has_vanished(patient: Patient, minutes: int, severity: Severity) -> None:
    patient.worker("it's", seen_at=ago(minutes=minutes), version="0.0.1", clock_offset="1 h")
    finding = patient.finding("workers")
    assert finding.severity is severity
    patient.mend(finding)
    assert patient.found() == []


def test_workers_that_have_vanished_are_one_finding_but_for_who_holds_something(
    patient: Patient,
) -> None:
    """Fifty were fifty findings, which hid all others."""
    patient.worker()
    for number in range(50):
        patient.worker(f"gone-{number}", seen_at=ago(minutes=10 + number))
    patient.worker("holder", seen_at=ago(minutes=5))
    patient.execution("known", picked=True, picked_by="holder/0-ab", last_heartbeat=ago(minutes=1))
    findings = [finding for check, finding in patient.report().findings if check == "workers"]
    assert [finding.title for finding in findings] == [
        "Worker 'holder' has not been seen for 5m",
        "50 workers have not been seen for 10m",
    ]
    assert len(findings[1].facts["workers"]) == 50
    for finding in findings:
        patient.mend(finding)
    assert patient.found() == []


def test_work_is_due_and_nobody_alive(patient: Patient) -> None:
    patient.execution("lonely", execution_time=ago(minutes=3))
    finding = patient.finding("workers")
    assert finding.severity is CRITICAL
    assert "'lonely'" in finding.explanation


def test_other_programs_that_work_here_count_as_alive(patient: Patient) -> None:
    """They have no row among the workers, as workers of older releases have none."""
    patient.execution("lonely", execution_time=ago(minutes=3))
    patient.execution("busy", picked=True, picked_by="node-1", last_heartbeat=ago(seconds=3))
    assert patient.found() == []


def test_a_poller_stands_still(patient: Patient) -> None:
    patient.worker("well", progressed_at=ago(seconds=3))
    patient.worker("still", progressed_at=ago(seconds=50))
    finding = patient.finding("progress")
    assert finding.severity is WARNING
    assert finding.title.startswith("A poller of worker 'still' has stood still for 50s")


def test_a_worker_has_no_poller(patient: Patient) -> None:
    patient.worker("starting", pollers=0, started_at=ago(seconds=3))
    patient.worker("empty", pollers=0)
    finding = patient.finding("progress")
    assert (finding.severity, finding.facts["worker"]) == (CRITICAL, "empty")


@pytest.mark.parametrize(("minutes", "severity"), [(1, NOTE), (60, WARNING)])
def test_two_versions_work_together(patient: Patient, minutes: int, severity: Severity) -> None:
    patient.worker("old")
    patient.worker("new", version="0.2.0", started_at=ago(minutes=minutes))
    finding = patient.finding("versions")
    assert finding.severity is severity
    assert finding.facts["versions"] == {"new": "0.2.0", "old": "0.1.0"}


@pytest.mark.parametrize("offset", ["5 s", "-5 s"])
def test_the_clock_of_a_worker_is_wrong(patient: Patient, offset: str) -> None:
    patient.worker(clock_offset=offset)
    assert patient.finding("clocks").severity is WARNING


def test_a_worker_does_not_hear(patient: Patient) -> None:
    patient.worker("deaf", hears_notifications=False)
    patient.worker("new", hears_notifications=False, started_at=ago(seconds=20))
    assert patient.finding("wake-ups").severity is NOTE, "they may all be behind a pooler"
    patient.worker("other")
    finding = patient.finding("wake-ups")
    assert finding.severity is WARNING
    assert finding.facts["workers"] == ["deaf"]
    patient.mend(finding)


def test_behind_a_pooler_nobody_hears_and_that_is_well(patient: Patient, role: str) -> None:
    patient.worker(hears_notifications=False)
    pooled = Configured(is_given=True, is_pooled=True)
    assert patient.found(pooled, user=role) == [("pooler", WARNING)], "there is none here"


def test_somebody_keeps_the_notifications(patient: Patient) -> None:
    if int(find_binaries().major) < 17:
        pytest.skip("before Postgres 17 the queue takes 8 GB to fill")
    with psycopg.connect(patient.conninfo, application_name="deaf") as listening:
        listening.execute("listen anything")
        listening.commit()
        listening.execute("select 1")
        patient.sql(
            "select pg_notify('anything', n || repeat('x', 7900)) from generate_series(1, 45) as n"
        )
        finding = patient.finding("notification-queue")
        assert finding.severity is CRITICAL
        assert "'deaf'" in finding.explanation
        patient.mend(finding)
        patient.sql("notify anything")
        assert patient.found() == []
        listening.close()


def test_a_task_that_no_worker_knows(patient: Patient) -> None:
    patient.worker()
    patient.execution("renamed", execution_time=ago(hours=2))
    finding = patient.finding("unknown-tasks")
    assert finding.severity is WARNING
    assert finding.title == "No worker knows task 'renamed', which has been due for 2h"
    patient.worker("host-2", tasks=["renamed"])
    assert patient.found() == [("late-tasks", WARNING)], "now somebody can run it"


def test_a_recurring_task_is_overdue(patient: Patient) -> None:
    """Beside something more urgent of the same task."""
    patient.worker(recurring=["known"])
    patient.execution("known", "default", execution_time=ago(minutes=10))
    patient.execution("known", "urgent", execution_time=ago(minutes=1), priority=1)
    finding = patient.finding("late-tasks")
    assert finding.severity is WARNING
    assert finding.title == "Task 'known' has been due for 10m"


def test_work_is_late_though_workers_are_alive(patient: Patient) -> None:
    patient.worker(tasks=["known", "other"])
    patient.execution("known", execution_time=ago(minutes=10))
    patient.execution("other", execution_time=ago(hours=10))
    finding = patient.finding("late-tasks")
    assert finding.title == "Task 'other' has been due for 10h"
    assert set(finding.facts["due_s"]) == {"known", "other"}


def test_a_recurring_task_was_cancelled(patient: Patient) -> None:
    patient.worker()
    declared = Configured(
        tasks={"known": Task(name="known", function=print, schedule=Every(hours=1))}
    )
    finding = patient.finding("recurring-tasks", declared)
    patient.mend(finding)
    assert patient.found(declared) == []


def test_a_schedule_that_fails(patient: Patient) -> None:
    class Broken:
        def next_time(self, after: datetime) -> datetime:
            raise LookupError("no such calendar")

    declared = Configured(tasks={"t": Task(name="t", function=print, schedule=Broken())})
    finding = patient.finding("recurring-tasks", declared)
    assert finding.severity is CRITICAL
    assert "LookupError: no such calendar" in finding.explanation


def test_a_recurring_task_that_only_fails(patient: Patient) -> None:
    patient.worker(tasks=["nightly"], recurring=["nightly"])
    failing = {
        "consecutive_failures": 10,
        "last_failure": ago(hours=2),
        "execution_time": ago(hours=-1),
    }
    patient.execution("nightly", "default", **failing)
    finding = patient.finding("failing-tasks", Configured(file="pgsched.yaml"))
    assert finding.severity is WARNING
    assert (
        finding.title
        == "Recurring task 'nightly' has never succeeded, and failed 10 times in a row"
    )
    assert finding.explanation.startswith("The last time 2h ago. ")
    assert finding.fix is not None
    assert finding.fix.lines == (
        "pgsched list --state retrying --task nightly --config pgsched.yaml",
    )
    patient.sql(f"update {TABLE} set last_success = now() - interval '9 d'")
    title = patient.finding("failing-tasks").title
    assert title.endswith("has failed 10 times in a row since its last success, 9d ago")


def test_a_recurring_task_that_the_configuration_alone_tells_of_fails(patient: Patient) -> None:
    failing = {
        "consecutive_failures": 3,
        "last_failure": ago(hours=2),
        "execution_time": ago(hours=-1),
    }
    patient.execution("nightly", "default", **failing)
    assert patient.found() == []
    nightly = Task(name="nightly", function=print, schedule=Every(days=1))
    assert (
        patient.finding("failing-tasks", Configured(tasks={"nightly": nightly})).severity is WARNING
    )


def test_a_hiccup_of_a_recurring_task_is_none(patient: Patient) -> None:
    patient.worker(tasks=["twice", "quick", "once"], recurring=["twice", "quick"])
    soon = {"execution_time": ago(hours=-1), "last_failure": ago(seconds=1)}
    patient.execution("twice", "default", **soon, consecutive_failures=2)
    patient.execution(
        "quick", "default", **soon, consecutive_failures=9, last_success=ago(seconds=40)
    )
    patient.execution("once", "default", **soon, consecutive_failures=9)
    assert patient.found() == []


@pytest.mark.parametrize("poller", ["host-9/0-abc'd", None])
def test_a_dead_pollers_executions_stay_picked(patient: Patient, poller: str | None) -> None:
    """What the mending statement must not touch is what somebody else holds, and what has a heartbeat by now."""
    patient.worker()
    dead = {"picked": True, "picked_by": poller, "last_heartbeat": ago(minutes=8)}
    patient.execution("orphan", "1", **dead)
    patient.execution("other", "1", picked=True, picked_by="x", last_heartbeat=ago(minutes=4))
    finding = patient.finding("stuck-executions")
    assert finding.severity is WARNING
    patient.execution("orphan", "2", **{**dead, "last_heartbeat": ago(minutes=0)})
    patient.mend(finding)
    assert patient.found() == []
    assert patient.sql(
        f"select task_name, task_instance, picked, version from {TABLE} order by 1, 2"
    ) == [("orphan", "1", False, 2), ("orphan", "2", True, 1), ("other", "1", True, 1)]


def test_a_living_worker_is_judged_by_its_own_timeout_alone(patient: Patient) -> None:
    """Which only its configuration tells: without one its slow heartbeat is no fault."""
    patient.worker("host-1")
    patient.execution("known", picked=True, picked_by="host-1/0-a", last_heartbeat=ago(minutes=20))
    assert patient.found() == []
    slow = Configured(is_given=True, heartbeat_timeout=timedelta(hours=1))
    quick = Configured(is_given=True, heartbeat_timeout=timedelta(minutes=15))
    assert patient.found(slow) == [("privileges", NOTE)]
    assert patient.found(quick) == [("stuck-executions", WARNING), ("privileges", NOTE)]


def test_what_was_picked_by_hand_is_never_recovered(patient: Patient) -> None:
    patient.worker()
    patient.execution("known", "by hand", picked=True)
    finding = patient.finding("stuck-executions")
    patient.mend(finding)
    assert patient.found() == []


def test_failed_executions_wait_for_somebody(patient: Patient) -> None:
    patient.sql(
        f"insert into {NAMES.quoted('failed_table')} (task_name, task_instance, execution_time,"
        " consecutive_failures, version, crashes, attempts, error)"
        " values ('pay', '1', now(), 6, 1, 0, 6, 'x')"
    )
    finding = patient.finding("failed-executions")
    assert finding.severity is NOTE
    assert finding.title == "1 failed execution"


def test_hostile_rows_hurt_nothing(patient: Patient) -> None:
    """Other programs may write any time there is."""
    times = ["infinity", "-infinity", "290000-01-01"]
    patient.worker(recurring=[f"t\n{number}" for number in range(len(times))])
    for number, at in enumerate(times):
        patient.execution(
            f"t\n{number}",
            "default",
            execution_time=at,
            last_success=at,
            last_failure=at,
            consecutive_failures=3,
        )
        patient.execution("h", str(number), picked=True, picked_by="p", last_heartbeat=at)
    report = patient.report()
    assert {each.check: each.unknown for each in report.results if each.unknown} == {}
    found = {check for check, _ in report.findings}
    assert found == {"unknown-tasks", "failing-tasks"}


def test_the_time_zones_are_old() -> None:
    machine = Machine(datetime(2026, 11, 1, tzinfo=UTC), timedelta(0), timedelta(0), "2023c")
    assert [finding.severity for finding in time_zones(machine)] == [NOTE]
    assert list(time_zones(machine._replace(time_zones="2024a"))) == []
    assert list(time_zones(machine._replace(time_zones=None))) == [], "not every system says"
    assert re.match(r"20\d\d", time_zone_release() or "2026a")


@pytest.mark.parametrize("offset", [timedelta(hours=1), timedelta(seconds=-5)])
def test_this_machines_clock_is_wrong(patient: Patient, offset: timedelta) -> None:
    finding = patient.finding("clocks", clock_offset=offset)
    assert finding.severity is NOTE
    assert abs(finding.facts["offset_s"] - offset.total_seconds()) < 1


def test_times_without_end_are_told_as_any_other(patient: Patient) -> None:
    """Neither a duration nor JSON has one."""
    patient.worker(tasks=["known"])
    patient.execution("unknown", execution_time="-infinity")
    patient.execution("known", execution_time="-infinity")
    patient.execution("later", execution_time="infinity")
    patient.execution("held", picked=True, picked_by="x/1", last_heartbeat="-infinity")
    report = patient.report()
    assert {check for check, _ in report.findings} == {
        "unknown-tasks",
        "late-tasks",
        "stuck-executions",
    }
    for _, finding in report.findings:
        json.dumps(dict(finding.facts), allow_nan=False)


def test_a_look_whose_answer_can_not_be_read_leaves_the_others(patient: Patient) -> None:
    patient.worker(seen_at="infinity", progressed_at="infinity")
    patient.sql(f"alter table {TABLE} reset (fillfactor)")
    report = patient.report()
    assert [check for check, _ in report.findings] == ["autovacuum"]
    assert {"workers", "clocks"} <= {each.check for each in report.results if each.unknown}


def test_work_that_was_always_due_and_nobody_alive(patient: Patient) -> None:
    patient.execution("lonely", execution_time="-infinity")
    assert patient.finding("workers").severity is CRITICAL
