"""Whatever becomes of the database, workers heal by themselves, no result is lost and nothing stays stuck."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from chaos.proxy import Mode, Proxy
from chaos.server import Server, Stop
from tests.faults.busy import busy, is_gone
from tests.waiting import wait_until
from tests.worker.running import Project, Worker, cpu_s

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., Worker]


@pytest.mark.parametrize("how", list(Stop))
def test_the_server_is_restarted(
    project: Project, start: Start, own_server: Server, how: Stop
) -> None:
    worker = start()
    with busy(project, worker):
        own_server.stop(how)
        project.wait_entries("ended", count=6)
        own_server.start()


def test_the_network_is_cut_for_a_while(project: Project, start: Start, proxy: Proxy) -> None:
    worker = start()
    with busy(project, worker):
        proxy.set(Mode.REFUSE)
        proxy.cut()
        project.wait_entries("ended", count=6)
        proxy.set(Mode.FORWARD)


def test_an_outage_keeps_nobody_busy(project: Project, start: Start, proxy: Proxy) -> None:
    """Longer than any timer of the housekeeper's that may come due meanwhile (and made it spin)."""
    worker = start()
    proxy.set(Mode.REFUSE)
    proxy.cut()
    worker.wait_event("database.lost", count=4)
    processes = [worker.pid, worker.housekeeper, *worker.pollers]
    before_s = sum(map(cpu_s, processes))
    time.sleep(7)
    assert sum(map(cpu_s, processes)) - before_s < 1
    proxy.set(Mode.FORWARD)
    project.client.schedule("run", "afterwards")
    project.wait_gone("afterwards")


def test_what_waits_for_a_slot_keeps_nobody_busy_in_an_outage(
    project: Project, start: Start, proxy: Proxy, tmp_path: Path
) -> None:
    """The tasks hang too, as they need the same database. What had waited for long was due to be handed back, and
    couldn't be: the poller looked again and again.
    """
    closed = tmp_path / "closed"
    worker = start(processes=1, concurrency=2)
    project.client.schedule_many([("quick-while-open", str(n), str(closed)) for n in range(20_000)])
    project.wait_entries("opened", count=500)
    proxy.set(Mode.REFUSE)
    proxy.cut()
    closed.touch()
    worker.wait_event("database.lost", count=2)
    [poller] = worker.pollers
    before_s = cpu_s(poller)
    time.sleep(4)
    assert cpu_s(poller) - before_s < 0.4
    closed.unlink()
    proxy.set(Mode.FORWARD)
    worker.wait_event("database.regained", count=2)


def test_connections_answer_nothing_for_a_while(
    project: Project, start: Start, proxy: Proxy
) -> None:
    worker = start()
    with busy(project, worker):
        proxy.set(Mode.SWALLOW)
        project.wait_entries("ended", count=6)
        proxy.cut()
        proxy.set(Mode.FORWARD)


def test_connections_that_stay_half_open_are_given_up(
    project: Project, start: Start, proxy: Proxy
) -> None:
    """Nobody tells either side, and nothing ever comes back on them; new ones work."""
    worker = start(heartbeat_timeout="1m", heartbeat_interval="1s")
    project.begin("sleep", "a", 1)
    proxy.forget()
    wait_until(lambda: is_gone(project, "a"), timeout=40, describe="its result to be written")
    assert len(project.diary("started", "a")) == 1
    assert worker.events("database.lost")


def test_every_answer_is_late(project: Project, start: Start, proxy: Proxy) -> None:
    worker = start(heartbeat_timeout="1m", heartbeat_interval="1s")
    proxy.set(Mode.DELAY, delay_s=0.2)
    project.client.schedule_many([("run", str(n)) for n in range(50)])
    wait_until(lambda: not project.client.list(task="run", limit=1), describe="all to be run")
    assert len(project.diary("ran")) == 50
    assert not worker.events("execution.recovered")


def test_no_connection_is_left(project: Project, start: Start, own_server: Server) -> None:
    worker = start()
    with busy(project, worker), psycopg.connect(own_server.conninfo, autocommit=True) as admin:
        admin.execute("alter database faults connection limit 0")
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'pgsched %'"
        )
        project.wait_entries("ended", count=6)
        admin.execute("alter database faults connection limit -1")


def test_the_primary_turns_read_only_without_closing_its_connections(
    project: Project, start: Start, own_server: Server
) -> None:
    worker = start()
    with busy(project, worker), psycopg.connect(own_server.conninfo, autocommit=True) as admin:
        admin.execute("alter system set default_transaction_read_only = on")
        admin.execute("select pg_reload_conf()")
        project.wait_entries("ended", count=6)
        worker.wait_event("database.lost")
        admin.execute("set transaction_read_only = off")
        admin.execute("set default_transaction_read_only = off")
        admin.execute("alter system reset default_transaction_read_only")
        admin.execute("select pg_reload_conf()")


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
def test_another_isolation_is_the_default(
    project: Project, start: Start, own_server: Server, isolation: str
) -> None:
    with psycopg.connect(own_server.conninfo, autocommit=True) as admin:
        admin.execute(f"alter database faults set default_transaction_isolation = '{isolation}'")
    start()
    project.client.schedule_many([("run", str(n)) for n in range(500)])
    project.client.schedule_many([("run-async", str(n)) for n in range(500)])
    wait_until(
        lambda: (
            not project.client.list(task="run", limit=1)
            and not project.client.list(task="run-async", limit=1)
        ),
        describe="all to be run",
    )
    assert len(project.diary("ran")) == 1000


def test_a_row_that_somebody_has_locked_keeps_no_others_waiting(
    project: Project, start: Start
) -> None:
    worker = start(processes=1)
    project.begin("sleep", "a", 0.5)
    with psycopg.connect(project.conninfo) as locking:
        locking.execute("select 1 from scheduled_tasks where task_instance = 'a' for update")
        project.wait_entries("ended", "a")
        project.client.schedule_many([("run", f"beside-{n}") for n in range(100)])
        wait_until(
            lambda: not project.client.list(task="run", limit=1), describe="others to be completed"
        )
        assert project.row("a") is not None
        locking.rollback()
    wait_until(lambda: is_gone(project, "a"), describe="its result to be written")
    assert len(project.diary("started", "a")) == 1
    assert not worker.events("database.lost")


def test_stopping_while_nothing_answers_takes_no_longer_than_it_may(
    project: Project, start: Start, proxy: Proxy
) -> None:
    worker = start(shutdown_timeout="1s")
    project.begin("sleep", "a", 0.2)
    proxy.set(Mode.SWALLOW)
    started_at = time.monotonic()
    worker.stop()
    assert time.monotonic() - started_at < 1 + 5 + 7 + 3


def test_the_whole_table_is_locked_longer_than_a_heartbeat_may_be_late(
    project: Project, start: Start, own_server: Server
) -> None:
    """Nobody could beat, so nobody is dead. Where a beat that had to wait writes when it began to, the sweep right
    after it takes its own worker for dead (not always: the sweep must come before the next beat).
    """
    worker = start(heartbeat_timeout="1s", heartbeat_interval="200ms")
    project.sql(
        "insert into scheduled_tasks (task_name, task_instance, picked, picked_by, last_heartbeat)"
        " values ('run', 'dead', true, 'somebody', now() - interval '1 h')"
    )
    worker.wait_event("execution.recovered", instance="dead")  # it sweeps
    project.client.schedule_many([("sleep", "plain", 3), ("sleep-async", "async", 3)])
    project.wait_entries("started", count=2)
    with (
        psycopg.connect(own_server.conninfo, autocommit=True) as admin,
        psycopg.connect(project.conninfo) as locking,
    ):
        locking.execute("lock table scheduled_tasks in access exclusive mode")
        wait_until(lambda: waits_for(admin, locking, 1.5), describe="everybody to wait")
    for instance in ("plain", "async"):
        wait_until(partial(is_gone, project, instance), describe=f"{instance} to be written")
        assert len(project.diary("started", instance)) == 1
    assert len(worker.events("execution.recovered")) == 1
    assert not worker.events("database_clock.jumped")


@pytest.mark.parametrize(
    ("limits", "is_felt"),
    [
        (["statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"], False),
        (["transaction_timeout"], True),
    ],
)  # fmt: skip
def test_the_database_sets_time_limits(
    project: Project, start: Start, own_server: Server, limits: list[str], is_felt: bool
) -> None:
    """A completion is blocked for longer than they are, and so is idle what waits for something to do. A sleeping
    worker that keeps the limit on idle sessions loses its connections all the time.
    """
    with psycopg.connect(own_server.conninfo, autocommit=True) as admin:
        for limit in limits:
            if not admin.execute("select 1 from pg_settings where name = %s", [limit]).fetchone():
                pytest.skip(f"this server has no {limit}")
        with psycopg.connect(project.conninfo) as locking:
            for limit in limits:
                admin.execute(f"alter database faults set {limit} = '150ms'")
            worker = start(processes=1)
            with busy(project, worker):
                lock(locking, "plain-0")
                project.wait_entries("ended", count=6)
                if is_felt:
                    worker.wait_event("database.lost")
                else:
                    wait_until(lambda: waits_for(admin, locking, 0.155), describe="a completion")
                locking.rollback()
    assert bool(worker.events("database.lost")) is is_felt


def waits_for(
    admin: psycopg.Connection[Any], locking: psycopg.Connection[Any], longer_than_s: float = 0.0
) -> bool:
    """Whether a statement waits for what `locking` has locked."""
    found = admin.execute(
        "select from pg_stat_activity where %s = any (pg_blocking_pids(pid))"
        " and clock_timestamp() - query_start > make_interval(secs => %s)",
        [locking.info.backend_pid, longer_than_s],
    )
    return found.fetchone() is not None


def test_a_completion_falls_victim_to_a_deadlock(
    project: Project, start: Start, own_server: Server
) -> None:
    """It is written once more. Beats and recoveries skip what is locked, and can't be in one."""
    with psycopg.connect(own_server.conninfo, autocommit=True) as admin:
        admin.execute("alter database faults set deadlock_timeout = '50ms'")
        # No beat moves a row: both are completed in one statement, a before b.
        start(processes=1, heartbeat_timeout="1m", heartbeat_interval="20s")
        with (
            psycopg.connect(own_server.conninfo, dbname="faults") as gate,
            psycopg.connect(own_server.conninfo, dbname="faults") as rival,
        ):
            rival.execute("set deadlock_timeout = '1min'")
            for instance, span_s in (("gate", 0.2), ("a", 0.5), ("b", 0.7)):
                project.client.schedule("sleep", instance, span_s)
            project.wait_entries("started", count=3)
            lock(gate, "gate")
            lock(rival, "b")
            project.wait_entries("ended", count=3)
            wait_until(lambda: waits_for(admin, gate), describe="a completion before theirs")
            gate.rollback()
            wait_until(lambda: waits_for(admin, rival), describe="their completion")
            lock(rival, "a")
            rival.rollback()
        for instance in ("gate", "a", "b"):
            wait_until(partial(is_gone, project, instance), describe=f"{instance} to be written")
            assert len(project.diary("started", instance)) == 1
        wait_until(lambda: has_seen_a_deadlock(admin), describe="a deadlock")


def has_seen_a_deadlock(admin: psycopg.Connection[Any]) -> bool:
    rows = admin.execute("select deadlocks from pg_stat_database where datname = 'faults'")
    return rows.fetchone() == (1,)


def lock(connection: psycopg.Connection[Any], instance: str) -> None:
    connection.execute(
        "select 1 from scheduled_tasks where task_instance = %s for update", [instance]
    )
