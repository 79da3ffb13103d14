"""Runs in processes of their own, and timeouts that end what does not end by itself."""

from __future__ import annotations

import signal
from collections.abc import Callable
from itertools import pairwise

from pgsched import FailedExecution
from tests.worker.running import Project, Worker, is_there

Start = Callable[..., Worker]


def failed(project: Project) -> FailedExecution:
    [execution] = project.client.list(state="failed")
    assert isinstance(execution, FailedExecution)
    return execution


def test_an_isolated_run_has_a_process_of_its_own_and_does_all_that_others_do(
    project: Project, start: Start
) -> None:
    project.client.schedule_many([("isolated", "a"), ("isolated-async", "b")])
    worker = start()
    entries = [*project.wait_entries("started", "a"), *project.wait_entries("started", "b")]
    project.wait_entries("ran", "after-a")
    pids = {entry.pid for entry in entries}
    assert len(pids) == 2
    assert not pids & {worker.pid, worker.housekeeper, *worker.pollers}
    assert not [pid for pid in pids if is_there(pid)]


def test_the_error_of_an_isolated_run_is_told_whatever_it_is(
    project: Project, start: Start
) -> None:
    project.client.schedule("isolated-failing", "a")
    start().wait_event("execution.exhausted")
    execution = failed(project)
    assert execution.error == "Unpicklable: 1 and 2"
    assert execution.traceback is not None
    assert "isolated_failing" in execution.traceback


def test_an_isolated_run_that_lasts_too_long_is_killed_alone(
    project: Project, start: Start
) -> None:
    project.client.schedule("isolated-endless", "a")
    worker = start(processes=1)
    worker.wait_event("execution.exhausted")
    execution = failed(project)
    assert execution.error == "TimeoutError: it ran longer than its timeout of 0:00:00.500000"
    [entry] = project.diary("started", "a")
    assert not is_there(entry.pid)
    assert not worker.events("poller.recycled")


def test_a_plain_run_that_lasts_too_long_ends_with_its_poller_once_the_others_have_ended(
    project: Project, start: Start
) -> None:
    project.client.schedule("sleep", "neighbour", 2)
    project.client.schedule("endless", "a")
    worker = start(processes=1)
    worker.wait_event("poller.recycled", count=2, timeout=30)
    worker.wait_event("execution.exhausted", instance="a")
    project.wait_gone("neighbour")
    assert (
        len(project.diary("ended", "neighbour")) == len(project.diary("started", "neighbour")) == 1
    )
    execution = failed(project)
    assert execution.error == "TimeoutError: it ran longer than its timeout of 0:00:00.500000"
    runs = [[e for e in project.diary(instance="a") if e.pid == pid] for pid in pids_of(project)]
    assert len(runs) == 2
    assert all(first[-1].at <= second[0].at for first, second in pairwise(runs))
    assert not worker.events("poller.died")


def pids_of(project: Project) -> list[int]:
    return [entry.pid for entry in project.diary("started", "a")]


def test_asked_to_stop_isolated_runs_may_end_as_all_others(project: Project, start: Start) -> None:
    worker = start(processes=1, shutdown_timeout="10s")
    project.client.schedule("isolated-sleep", "a", 1)
    project.wait_entries("started", "a")
    worker.signal(signal.SIGTERM)
    assert worker.wait_exit() == 0
    assert project.diary("ended", "a")
    assert project.row("a") is None


def test_at_the_end_of_the_shutdown_timeout_isolated_runs_are_killed_and_handed_back(
    project: Project, start: Start
) -> None:
    worker = start(processes=1, shutdown_timeout="500ms")
    project.client.schedule("isolated-long", "a")
    [entry] = project.wait_entries("started", "a")
    assert worker.stop() == 0
    assert not is_there(entry.pid)
    row = project.row("a")
    assert row is not None
    assert (row["picked"], row["crashes"], row["suspicions"]) == (False, 0, 0)
