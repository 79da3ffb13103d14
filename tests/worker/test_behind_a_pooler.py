"""A worker behind a real PgBouncer in transaction mode, and what it says where it was not told of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.pgbouncer import NO_TRACES, pgbouncer, traces
from tests.waiting import wait_until
from tests.worker.running import Project, Worker, cpu_s
from tests.worker.scraping import ask, wait_value

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.pgbouncer import PgBouncer

Start = Callable[..., Worker]

POLLING = {"polling_interval": "300ms", "heartbeat_timeout": "1500ms"}


@pytest.fixture
def project(tmp_path: Path, pooled: str) -> Generator[Project]:
    project = Project(tmp_path, pooled, pooler="transaction")
    yield project
    project.client.close()


def test_what_is_scheduled_through_it_is_run(project: Project, start: Start) -> None:
    """From a client and the command line, ahead, again and again, one after another, and after failures; and nothing is
    left in the sessions: no setting, and no `listen` either, or their next user would be told.
    """
    project.sql("create table effects (of text)")
    worker = start(**POLLING)
    project.client.schedule_many([("run", f"many-{n}") for n in range(200)])
    project.client.schedule("chain", "chain-0", 3)
    project.client.schedule("fail", "failing")
    subprocess.run(
        [sys.executable, "-m", "pgsched", "schedule", "run", "by-command", "--in", "500ms"],
        env={**os.environ, "DATABASE_URL": project.conninfo},
        check=True,
    )
    project.wait_entries("ran", count=200)
    project.wait_entries("ran", "by-command")
    project.wait_entries("ticked", count=3)
    worker.wait_event("execution.exhausted", instance="failing")
    wait_until(
        lambda: (
            not project.sql("select 1 from scheduled_tasks where task_name in ('run', 'chain')")
        ),
        describe="everything to be completed",
    )
    assert traces(project.conninfo) == NO_TRACES
    assert not worker.events("database.lost")
    assert worker.stop() == 0
    assert not project.sql("select 1 from scheduled_tasks where picked")


def test_its_housekeeper_sleeps_too(project: Project, start: Start) -> None:
    """The probe of a listening connection that is not there must not be due for ever."""
    worker = start(**POLLING)
    began, used_s = time.monotonic(), cpu_s(worker.housekeeper)
    project.wait_entries("ticked", count=5)
    share = (cpu_s(worker.housekeeper) - used_s) / (time.monotonic() - began)
    assert share < 0.2


@pytest.mark.parametrize(
    ("task", "data", "effects"), [("exactly-once-many", 8, 8), ("exactly-once-async", None, 1)]
)
def test_the_work_and_the_completion_are_there_together(
    project: Project, start: Start, task: str, data: int | None, effects: int
) -> None:
    """A task's own connection prepares nothing either: the second of these would find the first one's statements."""
    project.sql("create table effects (of text)")
    project.client.schedule_many([(task, name, data) for name in "abcd"])
    worker = start(**POLLING)
    worker.wait_event("execution.completed", count=4, task=task)
    assert project.sql("select of, count(*) from effects group by of order by of") == [
        (name, effects) for name in "abcd"
    ]


def test_what_a_killed_worker_held_is_recovered(project: Project, start: Start) -> None:
    project.client.schedule("sleep", "a", 60)
    first = start(**POLLING)
    project.wait_entries("started", "a")
    start(**POLLING)
    os.killpg(first.pid, signal.SIGKILL)
    project.wait_entries("started", "a", count=2)


def test_a_restart_of_the_pooler_is_an_outage_like_any_other(
    project: Project, start: Start, pooler: PgBouncer
) -> None:
    """Told once by each process. The housekeeper, of which nothing listens, must be answered before it says so."""
    worker = start(**POLLING)
    project.begin("sleep", "a", 1)
    pooler.stop()
    try:
        worker.wait_event("database.lost", count=3)
        project.wait_entries("ended", "a")
    finally:
        pooler.start()
    worker.wait_event("database.regained", count=3)
    assert len(worker.events("database.lost")) == 3
    project.wait_gone("a")
    project.client.close()  # it opens another
    project.client.schedule("run", "afterwards")
    project.wait_gone("afterwards")
    assert len(project.diary("started", "a")) == 1


def test_a_worker_that_was_not_told_of_it_does_not_start(project: Project) -> None:
    project.pooler = None
    worker = project.worker(number=0)
    status = worker.wait_exit()
    worker.kill_everything()
    assert status == 78, worker.lines
    [line] = worker.lines
    assert "database.pooler: the DSN leads through a pooler in transaction mode" in line
    assert "allowed: transaction, or" in line


def test_a_pooler_in_session_mode_needs_no_setting(
    project: Project, start: Start, server: str, database: str
) -> None:
    """Wake-ups are heard through it."""
    with pgbouncer(server, "session") as pooler:
        project.conninfo, project.pooler = pooler.conninfo(database), None
        start(polling_interval="1h")
        project.client.schedule("run", "a")
        project.wait_gone("a")


def test_a_setting_without_a_pooler_is_told(project: Project, start: Start, database: str) -> None:
    project.conninfo = database
    worker = start(**POLLING)
    worker.wait_event("pooler.not_found")
    project.client.schedule("run", "a")
    project.wait_gone("a")


def test_what_a_worker_tells_is_the_same_through_it(project: Project, start: Start) -> None:
    """But for the listener, which there is none of."""
    project.monitoring = {"port": 0}
    worker = start(**POLLING)
    project.client.schedule_many([("run", f"r-{n}") for n in range(20)])
    wait_value(worker, 20, "pgsched_executions_total", task="run", outcome="succeeded")
    found = wait_value(worker, 0, "pgsched_queue_executions", state="failed")
    assert found("pgsched_database_up") == 1
    assert found.all("pgsched_listener_up") == []
    assert ask(worker, "/readyz").status == 200
    assert worker.stop() == 0
    assert traces(project.conninfo) <= NO_TRACES
    assert project.sql("select from scheduled_tasks_leases") == []
