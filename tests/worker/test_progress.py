"""Pollers that live but don't get on are named and replaced; so are those that have done or grown enough."""

from __future__ import annotations

from collections.abc import Callable

from tests.waiting import wait_until
from tests.worker.running import Project, Worker

Start = Callable[..., Worker]

HELD_FOR_LONG = 120_000_000
"""Some 15 seconds or more of one call into C."""


def test_a_poller_that_stands_still_is_replaced_and_what_held_it_up_runs_alone(
    project: Project, start: Start
) -> None:
    worker = start(processes=1, stall_timeout="3s")
    project.client.schedule("hold-the-gil", "holder", HELD_FOR_LONG)
    project.wait_entries("started", "holder")
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
