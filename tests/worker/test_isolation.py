"""Runs in processes of their own, and timeouts that end what does not end by itself."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path

from pgsched import FailedExecution
from tests.waiting import wait_until
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
    wait_until(lambda: not any(map(is_there, pids)), describe="both processes to end")


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
    project.begin("isolated-sleep", "a", 1)
    worker.signal(signal.SIGTERM)
    assert worker.wait_exit() == 0
    assert project.diary("ended", "a")
    assert project.row("a") is None


def test_at_the_end_of_the_shutdown_timeout_isolated_runs_are_killed_and_handed_back(
    project: Project, start: Start
) -> None:
    worker = start(processes=1, shutdown_timeout="500ms")
    entry = project.begin("isolated-long", "a")
    assert worker.stop() == 0
    assert not is_there(entry.pid)
    row = project.row("a")
    assert row is not None
    assert (row["picked"], row["crashes"], row["suspicions"]) == (False, 0, 0)


def program(project: Project) -> int:
    """The process of the program that a task has started."""
    return int((project.folder / "diary.program").read_text())


def test_a_program_that_a_run_has_started_does_not_hide_its_timeout_and_ends_with_it(
    project: Project, start: Start
) -> None:
    """It holds the channel open, so that the poller heard nothing of the death, and went on after it."""
    project.client.schedule("isolated-program", "a")
    worker = start(processes=1)
    worker.wait_event("execution.exhausted", instance="a", timeout=5)
    assert failed(project).error.startswith("TimeoutError: it ran longer than its timeout")
    wait_until(lambda: not is_there(program(project)), describe="the program to end")


def test_a_program_left_behind_by_a_run_that_dies_neither_hides_its_death_nor_goes_on(
    project: Project, start: Start
) -> None:
    project.client.schedule("isolated-program-left-behind", "a")
    worker = start(processes=1, max_crashes=1)
    worker.wait_event("execution.buried", instance="a", timeout=5)
    assert failed(project).error.endswith("by SIGKILL")
    wait_until(lambda: not is_there(program(project)), describe="the program to end")


def test_a_timeout_of_a_month_an_answer_of_an_own_class_and_signals_cost_nothing(
    project: Project, start: Start
) -> None:
    """The kernel counts up to 24 days; what it raised beyond lost the slot, and left the execution picked for ever.
    An ignored SIGINT is handed on to programs; a SIGQUIT that isn't handled counted as a crash.
    """
    worker = start(processes=1, concurrency=1)
    tasks = ("isolated-patient", "isolated-odd-time", "isolated-interrupting")
    project.client.schedule_many([(task, task) for task in tasks])
    project.wait_gone("isolated-patient")
    [event] = worker.wait_event("execution.failed", instance="isolated-odd-time")
    assert event["retry"] == "2100-01-01T00:00:00Z"
    project.wait_entries(f"program--{int(signal.SIGINT)}", "isolated-interrupting")
    project.wait_gone("isolated-interrupting")


def test_a_machine_without_a_process_to_spare_costs_a_moment_and_no_worker(
    project: Project, start: Start
) -> None:
    """An error of `os.fork` ended the whole worker."""
    project.module = "tests.worker.barren"
    worker = start(processes=1)
    [poller] = worker.pollers
    barren = project.folder / "diary.barren"
    barren.touch()
    project.client.schedule("isolated", "a")
    worker.wait_event("fork.failed", poller=worker.events("poller.started")[0]["poller"])
    os.kill(poller, signal.SIGKILL)
    wait_until(lambda: len(worker.events("fork.failed", poller=None)) >= 2)
    barren.unlink()
    project.wait_gone("a")
    assert len(project.diary("started", "a")) == 1


def test_a_supervisor_without_a_descriptor_to_spare_goes_on(project: Project, start: Start) -> None:
    """The channel that it was sent got lost on the way; to unpack none into one ended the worker."""
    worker = start(processes=1)
    used = {int(each.name) for each in Path(f"/proc/{worker.pid}/fd").iterdir()}
    enough = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
    lowest = next(number for number in count() if number not in used)
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (lowest, enough[1]))
    project.client.schedule("isolated", "a")
    worker.wait_event("execution.released", instance="a")
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, enough)
    project.wait_gone("a")


def test_a_run_asked_for_when_the_supervisor_is_killed_keeps_no_poller(
    project: Project, start: Start
) -> None:
    """Pollers kept the queue of their requests open themselves, and waited for an answer until their time was over."""
    worker = start(processes=1, shutdown_timeout="60s")
    [poller] = worker.pollers
    worker.signal(signal.SIGSTOP)
    project.client.schedule("isolated", "a")
    wait_until(lambda: (row := project.row("a")) and row["picked"], describe="the pick")
    worker.signal(signal.SIGKILL)
    wait_until(lambda: not is_there(poller), describe="the poller to end")


def test_a_worker_killed_as_a_group_takes_isolated_runs_along(
    project: Project, start: Start
) -> None:
    """They lead groups of their own: without the death signal they would go on."""
    worker = start(processes=1)
    entry = project.begin("isolated-long", "long")
    worker.kill_everything()
    wait_until(lambda: not is_there(entry.pid), describe="the run to end")
