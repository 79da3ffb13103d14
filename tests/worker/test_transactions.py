"""A task's own writes and its completion in one transaction: both or neither, whoever is killed when."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.waiting import wait_until
from tests.worker.running import Project, Worker

Start = Callable[..., Worker]


@pytest.fixture(autouse=True)
def effects(project: Project) -> None:
    project.sql("create table effects (of text)")


def effects_of(project: Project, instance: str) -> int:
    [(count,)] = project.sql("select count(*) from effects where of = %s", instance)
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize(
    ("task", "data"),
    [
        ("exactly-once", "return"),
        ("exactly-once", "raise after"),
        ("exactly-once", "schedule after"),
        ("exactly-once-async", None),
        ("exactly-once-isolated", None),
        ("exactly-once-given", "conninfo"),
    ],
)
def test_the_work_and_the_completion_are_there_together(
    project: Project, start: Start, task: str, data: str | None
) -> None:
    data = project.conninfo if data == "conninfo" else data
    project.client.schedule(task, "a", data)
    worker = start()
    project.wait_gone("a")
    [event] = worker.wait_event("execution.completed", task=task)
    assert effects_of(project, "a") == 1
    assert not project.client.list(state="failed")
    assert ("error_after_commit" in event) == (data in {"raise after", "schedule after"})
    if task == "exactly-once":
        project.wait_entries("ran", "after-a")
        assert project.row("too-late") is None


def test_when_the_block_raises_nothing_is_written_and_the_run_fails(
    project: Project, start: Start
) -> None:
    project.client.schedule("exactly-once", "a", "raise")
    start().wait_event("execution.exhausted")
    assert effects_of(project, "a") == 0
    assert project.row("after-a") is None


def test_a_recurring_execution_goes_on_at_its_next_time(project: Project, start: Start) -> None:
    (project.folder / "diary.recur").touch()
    start()
    wait_until(lambda: project.sql("select 1 from effects offset 3"), describe="four runs")
    [(count, distinct)] = project.sql("select count(*), count(distinct of) from effects")
    assert count == distinct


def test_what_was_lost_meanwhile_commits_nothing(project: Project, start: Start) -> None:
    """Others have recovered the execution while the task was at it: its transaction is refused, theirs counts."""
    worker = start(processes=1)
    project.client.schedule("exactly-once", "a", "wait")
    project.wait_entries("waiting", "a")
    project.sql(
        "update scheduled_tasks set picked = false, picked_by = null, version = version + 1"
        " where task_instance = 'a'"
    )
    project.wait_entries("waiting", "a", count=2)
    (project.folder / "diary.go").touch()
    project.wait_gone("a")
    worker.wait_event("completion.stale", instance="a")
    assert effects_of(project, "a") == 1
    assert len(project.diary("ended", "a")) == 1


def test_a_worker_that_is_killed_at_it_leaves_nothing_behind(
    project: Project, start: Start
) -> None:
    worker = start(processes=1)
    project.client.schedule("exactly-once", "a", "wait")
    project.wait_entries("waiting", "a")
    os.kill(worker.pollers[0], signal.SIGKILL)
    project.wait_entries("waiting", "a", count=2)
    assert effects_of(project, "a") == 0
    (project.folder / "diary.go").touch()
    project.wait_gone("a")
    assert effects_of(project, "a") == 1
