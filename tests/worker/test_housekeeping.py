"""The housekeeper beats whatever else there is to do, and takes nobody's executions who may still run them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg

from tests.waiting import wait_until
from tests.worker.running import Project, Worker, is_there

Start = Callable[..., Worker]


def test_what_somebody_has_locked_keeps_no_others_from_being_beaten_for(
    project: Project, start: Start
) -> None:
    """The locked row is that of a poller that has ended, and waits to be handed on. Without `skip locked` in
    release_of.sql, or with the beat after the handing on, the other one is recovered elsewhere and runs twice.
    """
    worker = start(shutdown_timeout="500ms", concurrency=1)
    project.client.schedule_many([("sleep", "locked", 60), ("sleep", "beside", 6)])
    [locked] = project.wait_entries("started", "locked")
    [beside] = project.wait_entries("started", "beside")
    assert locked.pid != beside.pid, "each poller has one"
    start()
    with psycopg.connect(project.conninfo) as locking:
        locking.execute("select 1 from scheduled_tasks where task_instance = 'locked' for update")
        os.kill(locked.pid, signal.SIGTERM)
        wait_until(lambda: not is_there(locked.pid), describe="the poller to end")
        project.wait_entries("ended", "beside")
        assert len(project.diary("started", "locked")) == 1
        locking.rollback()
    project.wait_entries("started", "locked", count=2)
    project.wait_gone("beside")
    assert len(project.diary("started", "beside")) == 1
    assert not worker.events("database.lost")


def test_a_stopped_poller_without_a_supervisor_is_still_there(
    project: Project, start: Start
) -> None:
    """It may go on at any time, so what it runs is dead after the heartbeat timeout and not at once."""
    worker = start(processes=1)
    entry = project.begin("sleep", "a", 60)
    os.kill(entry.pid, signal.SIGSTOP)
    worker.signal(signal.SIGKILL)
    killed_at = time.time()
    try:
        start(processes=1)
        again = project.wait_entries("started", "a", count=2)[1]
        assert again.at > killed_at + 2, "its last beat was half a second before, its timeout is 3"
    finally:
        with suppress(ProcessLookupError):
            os.kill(entry.pid, signal.SIGKILL)


def test_a_housekeeper_that_stands_still_is_replaced(project: Project, start: Start) -> None:
    """Its patience cut short: as it is, it is longer than one call to the database may take."""
    project.module = "tests.worker.impatient"
    worker = start(processes=1)
    project.begin("sleep", "a", 6)
    stopped = worker.housekeeper
    os.kill(stopped, signal.SIGSTOP)
    worker.wait_event("housekeeper.killed", pid=stopped)
    worker.wait_event("housekeeper.started", count=2)
    project.wait_gone("a")
    assert len(project.diary("started", "a")) == 1
