"""What ended pollers leave is handed on as the housekeeper does it, whatever is in its way and whoever was quicker."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from structlog.testing import capture_logs

from pgsched import one_time
from pgsched.domain.completion import MoveToFailed, Reschedule
from pgsched.domain.mask import NO_MASK
from pgsched.errors import DatabaseUnavailable
from pgsched.log import Logger
from pgsched.store.session import Database, Session
from pgsched.store.statement import Names
from pgsched.worker.clock import Clock
from pgsched.worker.guard import Guard
from pgsched.worker.plan import Plan
from pgsched.worker.recovery import Recovery
from pgsched.worker.roster import End, Ended
from pgsched.worker.wills import Last, Wills
from tests.store.acting import REFUSE, Store
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator

HOUR = timedelta(hours=1)


@one_time("t")
def nothing() -> None: ...


def plan(conninfo: str) -> Plan:
    return Plan(
        worker_id="w",
        database=Database(conninfo, Names()),
        tasks={"t": nothing},
        processes=1,
        concurrency=1,
        batch_size=1,
        polling_interval=HOUR,
        heartbeat_interval=HOUR,
        heartbeat_timeout=HOUR,
        shutdown_timeout=HOUR,
        max_crashes=5,
        stall_timeout=HOUR,
        max_executions_per_process=None,
        max_memory_per_process=None,
        maintenance_interval=None,
        monitoring=None,
        failures_level=logging.WARNING,
        mask=NO_MASK,
    )


@pytest.fixture
def wills() -> Wills:
    return Wills()


@pytest.fixture
def recovery(database: str, wills: Wills) -> Generator[Recovery]:
    described = plan(database)
    with closing(Session(described.database, "test", Guard())) as session:
        yield Recovery(described, session, wills, Clock(), None, Logger())


@pytest.fixture
def store(database: str) -> Generator[Store]:
    with Store(database) as opened:
        yield opened


def has_handed_on(recovery: Recovery, store: Store, ended: Ended) -> bool:
    recovery.hand_on([ended], present=())
    return not any(row["picked"] for row in store.rows())


def test_of_several_that_one_look_has_not_taken_together_none_is_charged(
    store: Store, recovery: Recovery, database: str
) -> None:
    """The last one, which somebody had locked, looked as if it had been alone."""
    store.schedule("a", "b")
    store.pick()
    died = Ended("p", End.DIED, tuple(row["seq"] for row in store.rows()), "SIGKILL")
    with psycopg.connect(database) as locking:
        locking.execute("select 1 from scheduled_tasks where task_instance = 'a' for update")
        recovery.hand_on([died], present=())
        assert [row["picked"] for row in store.rows()] == [True, False]
    wait_until(lambda: has_handed_on(recovery, store, died), describe="the next look")
    assert [(row["crashes"], row["suspicions"]) for row in store.rows()] == [(0, 1), (0, 1)]


def test_who_is_still_there_is_asked_for_again_with_pauses(recovery: Recovery) -> None:
    ended = [Ended("p", End.KILLED)]
    recovery.hand_on(ended, present={"p"})
    assert 0 < recovery.wait_s(ended) <= 0.1
    assert not recovery.is_done(ended)


def test_what_is_locked_for_a_while_is_looked_for_as_often_as_all_else(
    store: Store, recovery: Recovery, database: str
) -> None:
    """A look that was put off was the last one, and the worker's end waited in vain for two more."""
    store.schedule("a")
    store.pick()
    killed = Ended("p", End.KILLED)
    with psycopg.connect(database) as locking:
        locking.execute("select 1 from scheduled_tasks for update")
        recovery.hand_on([killed], present=())
    wait_until(
        lambda: has_handed_on(recovery, store, killed) and recovery.is_done([killed]),
        describe="enough looks",
    )


@pytest.mark.parametrize("kind", ["retry", "exhausted"])
def test_a_will_that_came_too_late_is_told_as_stale(
    store: Store, recovery: Recovery, wills: Wills, kind: str
) -> None:
    """A housekeeper that is replaced finds the wills again that the first one has carried out."""
    store.schedule("a")
    [held] = store.pick()
    late = MoveToFailed(held, "E", "") if kind == "exhausted" else Reschedule(held, HOUR, False)
    wills.leave("p", [Last(late, None)])
    store.recover_of("p")
    with capture_logs() as told:
        recovery.hand_on([Ended("p", End.IN_ORDER)], present=())
    assert [line["event"] for line in told] == ["completion.stale"]
    assert told[0]["receipt"] == "stale"


def test_a_will_that_is_carried_out_is_told_with_the_instant_of_its_retry(
    store: Store, recovery: Recovery, wills: Wills
) -> None:
    """It was told as a length of time or as an instant, whatever the failure handler had answered."""
    store.schedule("a")
    [held] = store.pick()
    wills.leave("p", [Last(Reschedule(held, HOUR, False), None)])
    with capture_logs() as told:
        recovery.hand_on([Ended("p", End.IN_ORDER)], present=())
    assert [line["event"] for line in told] == ["execution.failed"]
    [row] = store.rows()
    retry = datetime.fromisoformat(told[0]["retry"])
    assert abs(retry - row["execution_time"]) < timedelta(seconds=2)


@pytest.mark.parametrize("end", [End.DIED, End.KILLED])
def test_what_the_database_refuses_keeps_nobody_elses_from_being_handed_on(
    store: Store, recovery: Recovery, end: End
) -> None:
    """The housekeeper took that for a lost database ten times a second, and recovered nothing more of anybody."""
    for poller, instance in (("p", "refused"), ("q", "other")):
        store.schedule(instance)
        store.pick(poller)
    store.connection.execute(REFUSE)
    ended = [Ended("p", end), Ended("q", end)]
    with capture_logs() as told:
        recovery.hand_on(ended, present=())
        store.age_heartbeat("refused", 3 * HOUR)
        recovery.sweep(None)
    refused = [line.get("poller") for line in told if line["event"] == "recovery.refused"]
    assert refused == ["p", None]
    assert [(row["task_instance"], row["picked"]) for row in store.rows()] == [
        ("other", False),
        ("refused", True),
    ]
    assert recovery.wait_s(ended[:1]) > 5


def test_a_connection_that_is_lost_on_the_way_to_a_sweep_ends_it(
    store: Store, recovery: Recovery
) -> None:
    """Without, the sweep went on over a new one: after a failover that has lost beats it took the living for dead."""
    store.schedule("a")
    store.pick()
    recovery.sweep(None)
    store.connection.execute(
        "update scheduled_tasks set last_heartbeat = last_heartbeat - interval '1 day'"
    )
    store.connection.execute(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
        " where datname = current_database() and application_name = 'test'"
    )
    with pytest.raises(DatabaseUnavailable):
        recovery.sweep(None)
    assert store.rows()[0]["picked"]
    recovery.sweep(None)
    assert not store.rows()[0]["picked"]


@pytest.fixture
def restricted(store: Store) -> Generator[str]:
    """A role with the rights of a worker, but for those on the workers' table."""
    role = f"{store.connection.info.dbname}_restricted"
    store.connection.execute(f"create role {role}".encode())
    tables = "scheduled_tasks, scheduled_tasks_failed"
    store.connection.execute(f"grant all on {tables} to {role}".encode())
    yield role
    store.connection.execute(f"drop owned by {role}".encode())
    store.connection.execute(f"drop role {role}".encode())


def test_a_role_that_may_not_read_others_timeouts_judges_all_by_its_own(
    store: Store, database: str, restricted: str
) -> None:
    """Without, its sweeps ended there."""
    store.schedule("a")
    store.pick()
    store.connection.execute(
        "update scheduled_tasks set last_heartbeat = last_heartbeat - interval '1 day'"
    )
    described = plan(make_conninfo(database, options=f"-c role={restricted}"))
    with closing(Session(described.database, "test", Guard())) as session:
        Recovery(described, session, Wills(), Clock(), None, Logger()).sweep(None)
    assert not store.rows()[0]["picked"]
