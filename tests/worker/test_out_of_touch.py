"""A worker that can't beat tells its tasks so, and stops in time what must never run twice at a time."""

from __future__ import annotations

import os
import signal
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
    project.begin("watch-touch", "a")
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
    """The async one refuses to be cancelled."""
    start(processes=1)
    instances = ("never-overlaps", "never-overlaps-async")
    project.client.schedule_many([(instance, instance) for instance in instances])
    first = [project.wait_entries("started", instance)[0] for instance in instances]
    with locked(project) as since:
        wait_until(lambda: not any(is_there(each.pid) for each in first), describe="their ends")
        stopped_at = time.time()
        assert stopped_at < since + 3
    for instance in instances:
        again = project.wait_entries("started", instance, count=2)[1]
        row = project.row(instance)
        assert row is not None
        assert (row["crashes"], row["suspicions"], row["consecutive_failures"]) == (0, 0, 0)
        assert again.at > stopped_at


def test_what_must_never_overlap_is_stopped_when_its_poller_stands_still(
    project: Project, start: Start
) -> None:
    """A stopped poller can't do it itself: its run went on beside the one that others had begun."""
    worker = start(heartbeat_timeout="2s", heartbeat_interval="300ms")
    first = project.begin("never-overlaps", "a")
    row = project.row("a")
    assert row is not None
    [event] = worker.events("poller.started", poller=row["picked_by"])
    os.kill(event["pid"], signal.SIGSTOP)
    wait_until(lambda: not is_there(first.pid), describe="its end")
    stopped_at = time.time()
    again = project.wait_entries("started", "a", count=2)[1]
    assert again.at > stopped_at
    os.kill(event["pid"], signal.SIGCONT)
    worker.wait_event("completion.stale", instance="a", held_version=first.token)
    assert is_there(again.pid)


def test_what_must_never_overlap_does_nothing_more_after_its_whole_worker_stood_still(
    project: Project, start: Start
) -> None:
    """As a paused container. Its supervisor wakes up last, after a beat: without the fuse the run goes on for good."""
    frozen = start(processes=1, heartbeat_timeout="2s", heartbeat_interval="300ms")
    first = project.begin("never-overlaps-ticking", "a")
    poller = frozen.pollers[0]
    os.killpg(frozen.pid, signal.SIGSTOP)
    os.kill(first.pid, signal.SIGSTOP)
    start(processes=1, heartbeat_timeout="2s", heartbeat_interval="300ms")
    again = project.wait_entries("started", "a", count=2)[1]
    for pid in (frozen.housekeeper, poller):
        os.kill(pid, signal.SIGCONT)
    wait_until(
        lambda: [
            each
            for each in project.diary("ticked")
            if (each.pid, each.at > again.at) == (poller, True)
        ],
        describe="its poller to be at work again",
    )
    os.kill(first.pid, signal.SIGCONT)
    wait_until(lambda: not is_there(first.pid), describe="its end")
    assert not [
        each for each in project.diary("acted") if each.pid == first.pid and each.at > again.at
    ]
    os.kill(frozen.pid, signal.SIGCONT)
    frozen.wait_event("completion.stale", instance="a", held_version=first.token)
