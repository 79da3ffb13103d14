"""Whatever becomes of the database, workers heal by themselves, no result is lost and nothing stays stuck."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest

from chaos.proxy import Mode, Proxy
from chaos.server import Server, Stop
from tests.waiting import wait_until
from tests.worker.running import Project, Worker

Start = Callable[..., Worker]

HEALED_S = 5.0
"""So soon after a fault is over, work goes on. The timeouts of waits are longer, for a machine that is busy."""


@contextmanager
def busy(project: Project, worker: Worker, *, spans: float = 1.5) -> Generator[None]:
    """Tasks run when the fault comes and end while it lasts: each result is written once it is over, each ran once,
    and what is scheduled then is run.
    """
    project.client.schedule_many([("sleep", f"plain-{n}", spans) for n in range(3)])
    project.client.schedule_many([("sleep-async", f"async-{n}", spans) for n in range(3)])
    project.wait_entries("started", count=6)
    yield
    healed_at = time.monotonic()
    wait_until(
        lambda: schedule(project, "afterwards"), describe="the server to be back for clients"
    )
    wait_until(lambda: project.diary("ran", "afterwards"), describe="work to go on")
    assert time.monotonic() - healed_at < HEALED_S
    for instance in [f"plain-{n}" for n in range(3)] + [f"async-{n}" for n in range(3)]:
        wait_until(partial(is_gone, project, instance), describe=f"{instance} to be written")
        assert len(project.diary("started", instance)) == 1, instance
        assert len(project.diary("ended", instance)) == 1, instance
    assert not worker.events("poller.died")


def schedule(project: Project, instance: str) -> bool:
    try:
        return project.client.schedule("run", instance)
    except Exception:
        return False


def is_gone(project: Project, instance: str) -> bool:
    return (
        project.client.get("sleep", instance) is None
        and project.client.get("sleep-async", instance) is None
    )


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
    project.client.schedule("sleep", "a", 1)
    project.wait_entries("started", "a")
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


def test_a_row_is_locked_longer_than_a_statement_may_wait(
    project: Project, start: Start, own_server: Server
) -> None:
    with psycopg.connect(own_server.conninfo, autocommit=True) as admin:
        admin.execute("alter database faults set lock_timeout = '200ms'")
    worker = start(processes=1)
    project.client.schedule("sleep", "a", 0.5)
    project.wait_entries("started", "a")
    with psycopg.connect(project.conninfo) as locking:
        locking.execute("select 1 from scheduled_tasks where task_instance = 'a' for update")
        project.wait_entries("ended", "a")
        worker.wait_event("database.lost")
        project.client.schedule("run", "beside")
        locking.rollback()
    wait_until(lambda: is_gone(project, "a"), describe="its result to be written")
    wait_until(lambda: project.diary("ran", "beside"), describe="others to go on")
    assert len(project.diary("started", "a")) == 1


def test_stopping_while_nothing_answers_takes_no_longer_than_it_may(
    project: Project, start: Start, proxy: Proxy
) -> None:
    worker = start(shutdown_timeout="1s")
    project.client.schedule("sleep", "a", 0.2)
    project.wait_entries("started", "a")
    proxy.set(Mode.SWALLOW)
    started_at = time.monotonic()
    worker.stop()
    assert time.monotonic() - started_at < 1 + 5 + 7 + 3
