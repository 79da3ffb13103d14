"""A task that kills its process, alone or with its whole worker, costs nobody else a crash or a retry."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial

from pgsched import FailedExecution
from tests.waiting import wait_until
from tests.worker.running import Project, Worker, is_there

Start = Callable[..., Worker]
NEIGHBOURS = [f"neighbour-{n}" for n in range(5)]


def failed_ones(project: Project) -> list[FailedExecution]:
    return [
        each for each in project.client.list(state="failed") if isinstance(each, FailedExecution)
    ]


def is_over(project: Project, worker: Worker) -> bool:
    return not is_there(worker.pid) or bool(failed_ones(project))


def test_the_neighbours_of_one_that_kills_its_process_lose_nothing(
    project: Project, start: Start
) -> None:
    project.client.schedule_many([("sleep-and-tell", each, 1.0) for each in NEIGHBOURS])
    project.client.schedule("exit-in-a-while", "poison", 0.4)
    worker = start(processes=1, max_crashes=2)
    worker.wait_event("execution.buried", instance="poison")
    [execution] = failed_ones(project)
    assert (execution.task_instance, execution.crashes) == ("poison", 2)
    assert execution.error.endswith("by exit 3")
    assert (
        len(project.diary("started", "poison")) == 3
    )  # the first time it could have been any of them
    for each in NEIGHBOURS:
        project.wait_gone(each)
        assert project.diary("ended/0/0", each)
    assert len(worker.events("poller.died")) == 1


def test_one_that_kills_its_whole_worker_is_found_by_those_that_come_after(
    project: Project, start: Start
) -> None:
    """As a pod that the kernel ends for want of memory: nobody is left to tell who did it."""
    project.client.schedule_many([("sleep-and-tell", each, 2.0) for each in NEIGHBOURS[:2]])
    project.client.schedule("kill-all-in-a-while", "poison", 0.4)
    while not failed_ones(project):
        worker = start(max_crashes=1, heartbeat_timeout="1s", heartbeat_interval="300ms")
        wait_until(
            partial(is_over, project, worker),
            describe="the worker to be killed, or the one that does it to be found",
        )
        assert len(project.diary("started", "poison")) <= 4
    [execution] = failed_ones(project)
    assert execution.task_instance == "poison"
    start()
    for each in NEIGHBOURS[:2]:
        project.wait_gone(each)
        assert project.diary("ended/0/0", each)


def test_a_killed_poller_takes_the_processes_of_its_isolated_runs_along(
    project: Project, start: Start
) -> None:
    worker = start(processes=1)
    entry = project.begin("isolated-long", "long")
    assert entry.pid not in worker.pollers
    os.kill(worker.pollers[0], signal.SIGKILL)
    again = project.wait_entries("started", "long", count=2)[1]
    assert not is_there(entry.pid)
    assert again.token > entry.token


def test_a_killed_supervisor_takes_isolated_runs_along(project: Project, start: Start) -> None:
    worker = start(processes=1)
    entry = project.begin("isolated-long", "long")
    worker.signal(signal.SIGKILL)
    wait_until(lambda: not is_there(entry.pid), describe="the run to be ended")
    wait_until(lambda: (row := project.row("long")) and not row["picked"], describe="its release")
    row = project.row("long")
    assert row is not None
    assert (row["crashes"], row["suspicions"]) == (0, 0)


def test_a_failure_handler_that_kills_its_process_is_found_out(
    project: Project, start: Start
) -> None:
    """It is asked while the run is on the board: else it would be nobody's fault, and done again for ever."""
    project.client.schedule_many([("deadly-handler", "a"), ("deadly-handler-async", "b")])
    worker = start(processes=1, max_crashes=1)
    for instance in "ab":
        worker.wait_event("execution.buried", instance=instance)
