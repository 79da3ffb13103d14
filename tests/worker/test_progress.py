"""Pollers that live but don't get on are named and replaced; so are those that have done or grown enough."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.waiting import wait_until
from tests.worker.running import Project, Worker

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., Worker]

HELD_FOR_LONG = 120_000_000
"""Some 15 seconds or more of one call into C."""


def test_a_poller_that_stands_still_is_replaced_and_what_held_it_up_runs_alone(
    project: Project, start: Start
) -> None:
    worker = start(processes=1, stall_timeout="3s")
    project.begin("hold-the-gil", "holder", HELD_FOR_LONG)
    worker.wait_event("poller.killed", reason="stalled")
    again = project.wait_entries("started", "holder", count=2)[1]
    assert again.pid not in worker.pollers
    project.client.schedule("run", "beside")
    project.wait_gone("beside")


def test_a_poller_that_stands_still_is_named_with_what_it_runs(
    project: Project, start: Start
) -> None:
    worker = start(processes=1)
    project.client.schedule("hold-the-gil", "holder", HELD_FOR_LONG)
    [event] = worker.wait_event("poller.stalled", timeout=30)
    assert event["running"] == ["hold-the-gil holder"]


def test_a_task_that_blocks_the_event_loop_is_named(project: Project, start: Start) -> None:
    worker = start(processes=1)
    project.client.schedule("block-the-loop", "blocker", 8)
    worker.wait_event("event_loop.blocked", task="block-the-loop")
    project.wait_gone("blocker")


def test_a_poller_that_has_run_enough_is_replaced_and_nothing_is_lost(
    project: Project, start: Start
) -> None:
    worker = start(max_executions_per_process=20)
    project.client.schedule_many([("run", str(n)) for n in range(200)])
    wait_until(lambda: not project.client.list(task="run", limit=1), describe="all to be run")
    assert len(project.diary("ran")) == 200
    assert worker.events("poller.recycled")
    assert not worker.events("poller.died")


def test_a_poller_that_holds_too_much_memory_is_replaced(project: Project, start: Start) -> None:
    worker = start(processes=1, max_memory_per_process="100MB")
    project.client.schedule("leak", "a", 100_000_000)
    worker.wait_event("poller.recycled")
    worker.wait_event("poller.started", count=2)
    project.wait_gone("a")


def test_a_poller_that_has_run_enough_lets_long_runs_end(project: Project, start: Start) -> None:
    """Ended by the shutdown timeout, a run that lasts longer was begun again and again."""
    worker = start(processes=1, max_executions_per_process=5, shutdown_timeout="200ms")
    project.client.schedule("sleep", "long", 2)
    worker.wait_event("poller.recycled")
    project.wait_gone("long")
    assert len(project.diary("started", "long")) == 1
    worker.wait_event("poller.stopped")


def test_a_poller_that_lets_long_runs_end_stops_in_time_when_told_to(
    project: Project, start: Start
) -> None:
    worker = start(processes=1, max_executions_per_process=5, shutdown_timeout="200ms")
    project.begin("sleep", "long", 60)
    worker.wait_event("poller.recycled")
    worker.signal(signal.SIGTERM)
    assert worker.wait_exit(timeout=5) == 0


def test_a_memory_limit_that_a_process_exceeds_from_the_start_is_told_and_lets_it_work(
    project: Project, start: Start
) -> None:
    """Replaced before it had run anything, a poller did nothing else: 121 times in 5 seconds."""
    worker = start(processes=1, max_memory_per_process="10MB")
    [event] = worker.events("limit.too_low")
    assert (event["key"], event["limit_mb"]) == ("worker.max_memory_per_process", 10)
    recycled = worker.wait_event("poller.recycled", count=2)
    assert {each["pid"] for each in recycled} <= {entry.pid for entry in project.diary("ticked")}


def test_an_idle_poller_is_not_taken_for_one_that_stands_still(
    tmp_path: Path, database: str
) -> None:
    """Its loop turned every five seconds, whatever `stall_timeout` allows."""
    tasks = tmp_path / "quiet.py"
    tasks.write_text("from pgsched import one_time\n@one_time('run')\ndef run(): ...\n")
    project = Project(tmp_path, database, tasks=tasks)
    project.module = "tests.worker.impatient"
    worker = project.worker(number=0, processes=1, stall_timeout="500ms")
    try:
        worker.wait_ready()
        project.client.schedule("run", "later", at=datetime.now(UTC) + timedelta(seconds=2))
        project.wait_gone("later")
        assert not worker.events("poller.killed")
    finally:
        worker.kill_everything()
        project.client.close()
