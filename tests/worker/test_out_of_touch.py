"""A worker that can't beat tells its tasks so, and stops in time what must never run twice at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import psycopg

from tests.waiting import wait_until
from tests.worker.running import Project, Worker, is_there

Start = Callable[..., Worker]


@contextmanager
def locked(project: Project) -> Generator[float]:
    """Nobody gets at the table; answers since when. Beats wait for it."""
    with psycopg.connect(project.conninfo) as connection:
        connection.execute("lock table scheduled_tasks in access exclusive mode")
        yield time.time()
        connection.rollback()


def test_running_tasks_go_on_and_are_told(project: Project, start: Start) -> None:
    worker = start(processes=1)
    project.client.schedule("watch-touch", "a")
    project.wait_entries("started", "a")
    with locked(project):
        project.wait_entries("out-of-touch", "a")
        worker.wait_event("poller.out_of_touch")
    project.wait_entries("in-touch", "a")
    project.wait_gone("a")
    assert len(project.diary("started", "a")) == 1
    assert len(worker.events("poller.out_of_touch")) == 1


def test_what_must_never_overlap_is_stopped_before_others_may_take_it(
    project: Project, start: Start
) -> None:
    start(processes=1)
    project.client.schedule_many([("never-overlaps", "plain"), ("never-overlaps-async", "async")])
    [plain] = project.wait_entries("started", "plain")
    project.wait_entries("started", "async")
    with locked(project) as since:
        [stopped] = project.wait_entries("stopped", "async")
        assert stopped.at < since + 3
        wait_until(lambda: not is_there(plain.pid), describe="its process to end")
        assert time.time() < since + 3
    for instance in ("plain", "async"):
        again = project.wait_entries("started", instance, count=2)[1]
        row = project.row(instance)
        assert row is not None
        assert (row["crashes"], row["suspicions"], row["consecutive_failures"]) == (0, 0, 0)
        assert again.at > stopped.at


def test_what_must_never_overlap_and_does_not_stop_ends_with_its_poller(
    project: Project, start: Start
) -> None:
    start(processes=1)
    project.client.schedule("never-overlaps-stubborn", "a")
    [entry] = project.wait_entries("started", "a")
    with locked(project) as since:
        project.wait_entries("asked-to-stop", "a")
        wait_until(lambda: not is_there(entry.pid), describe="its poller to end")
        assert time.time() < since + 3
    project.wait_entries("started", "a", count=2)
