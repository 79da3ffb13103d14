"""What becomes of runs that fail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pgsched import FailedExecution
from tests.waiting import wait_until
from tests.worker.running import Project, Worker

Start = Callable[..., Worker]


def failed(project: Project, task: str) -> FailedExecution:
    """The one failed execution of a task, as soon as it is there."""
    found = wait_until(
        lambda: project.client.list(task=task, state="failed"), describe=f"{task} to fail for good"
    )
    [execution] = found
    assert isinstance(execution, FailedExecution)
    return execution


def test_exhausted_retries_leave_a_failed_execution_with_its_error_and_data(
    project: Project, start: Start
) -> None:
    project.client.schedule("fail", "f-1", {"why": "luck"}, priority=3)
    worker = start()
    execution = failed(project, "fail")
    assert [entry.what for entry in project.diary(instance="f-1")] == [
        "attempt-1",
        "attempt-2",
        "attempt-3",
    ]
    assert execution.attempts == 3
    assert execution.error == "RuntimeError: no {'why': 'luck'}"
    assert execution.traceback is not None
    assert "in fail" in execution.traceback
    assert "pgsched/worker" not in execution.traceback
    assert (execution.task_data, execution.priority) == ({"why": "luck"}, 3)
    assert project.row("f-1") is None
    [event] = worker.wait_event("execution.exhausted", instance="f-1")
    assert (event["attempt"], event["error"]) == (3, execution.error)


def test_a_failed_execution_can_be_retried_from_the_first_attempt_and_scheduled_anew(
    project: Project, start: Start
) -> None:
    project.client.schedule("fail", "f-1", "first")
    start()
    failed(project, "fail")
    assert project.client.schedule("fail", "f-1", "second")
    wait_until(lambda: len(project.client.list(task="fail", state="failed")) == 2)
    project.client.discard("fail", "f-1")
    assert failed(project, "fail").task_data == "first"
    project.client.retry("fail", "f-1")
    wait_until(lambda: len(project.diary("attempt-1", "f-1")) == 3)
    assert failed(project, "fail").attempts == 3


def test_retries_back_off_and_success_ends_them(project: Project, start: Start) -> None:
    project.client.schedule("fail-twice", "f-1")
    start()
    project.wait_gone("f-1")
    first, second, third = project.diary(instance="f-1")
    assert [first.what, second.what, third.what] == ["attempt-1", "attempt-2", "attempt-3"]
    assert second.at - first.at >= 0.05
    assert third.at - second.at >= 0.1
    assert not project.client.list(task="fail-twice", state="failed")


def test_without_a_handler_a_one_time_task_is_retried_in_five_minutes(
    project: Project, start: Start
) -> None:
    project.client.schedule("fail-without-handler", "f-1")
    worker = start()
    worker.wait_event("execution.failed", instance="f-1")
    execution = project.client.get("fail-without-handler", "f-1")
    assert execution is not None
    assert execution.state == "retrying"
    assert execution.consecutive_failures == 1
    wait = execution.execution_time - datetime.now(UTC)
    assert timedelta(minutes=4, seconds=30) < wait <= timedelta(minutes=5)


def test_a_handler_of_ones_own_decides(project: Project, start: Start) -> None:
    project.client.schedule("own-handler", "f-1")
    start()
    assert failed(project, "own-handler").attempts == 4


def test_a_handler_that_raises_counts_as_none_and_is_named(project: Project, start: Start) -> None:
    project.client.schedule("broken-handler", "f-1")
    worker = start()
    [event] = worker.wait_event("failure_handler.broken", instance="f-1")
    assert "the handler is broken" in event["error"]
    execution = project.client.get("broken-handler", "f-1")
    assert execution is not None
    assert execution.execution_time > datetime.now(UTC) + timedelta(minutes=4)


def test_a_task_that_raises_system_exit_fails_and_the_worker_lives(
    project: Project, start: Start
) -> None:
    project.client.schedule("exit", "f-1")
    project.client.schedule("exit-async", "f-2")
    worker = start()
    assert failed(project, "exit").error == "SystemExit: a task can't end its worker"
    assert failed(project, "exit-async").error == "KeyboardInterrupt"
    assert not worker.events("poller.died")


def test_data_that_does_not_fit_fails_that_execution_alone(project: Project, start: Start) -> None:
    project.client.schedule("typed", "good", {"weight": "3", "to": "Rome"})
    project.client.schedule("typed", "bad", {"weight": "heavy"})
    start()
    project.wait_entries("Rome-4", "good")
    execution = failed(project, "typed")
    assert execution.error.startswith("InvalidData: the data does not fit what the task takes")
    assert "weight" in execution.error
    assert "to: Field required" in execution.error


def test_an_error_that_postgres_can_not_store_is_stored_bounded(
    project: Project, start: Start
) -> None:
    project.client.schedule("bad-error", "f-1")
    start()
    execution = failed(project, "bad-error")
    assert execution.error.startswith("RuntimeError: a NUL ␀ and a surrogate ? and much text")
    assert len(execution.error) <= 2_000
    assert execution.traceback is not None
    assert len(execution.traceback) <= 16_000


def test_an_async_task_that_overruns_its_timeout_is_cancelled_and_fails(
    project: Project, start: Start
) -> None:
    project.client.schedule("slow", "f-1")
    start()
    assert (
        failed(project, "slow").error
        == "TimeoutError: it ran longer than its timeout of 0:00:00.200000"
    )


def test_a_retry_beyond_all_bounds_counts_as_no_handler_and_costs_no_poller(
    project: Project, start: Start
) -> None:
    project.client.schedule("impossible-retry", "f-1")
    worker = start()
    worker.wait_event("failure_handler.broken", instance="f-1")
    execution = project.client.get("impossible-retry", "f-1")
    assert execution is not None
    assert (execution.state, execution.crashes) == ("retrying", 0)
    assert not worker.events("poller.died")


def test_what_the_database_refuses_of_one_run_costs_neither_its_neighbours_nor_the_poller(
    project: Project, start: Start
) -> None:
    project.sql("alter table scheduled_tasks_failed add check (error not like '%%no bad%%')")
    project.sql("alter table scheduled_tasks add check (task_instance <> 'link-0')")
    many = [("run", f"n{n}") for n in range(50)]
    project.client.schedule_many([("fail", "f-1", "bad"), ("chain", "link-1", 1), *many])
    worker = start()
    wait_until(
        lambda: not project.client.list(task="run"), describe="the neighbours to be completed"
    )
    worker.wait_event("completion.refused", instance="link-1")
    worker.wait_event("completion.refused", instance="f-1")
    execution = project.client.get("chain", "link-1")
    assert execution is not None
    assert (execution.state, execution.crashes) == ("retrying", 0)
    assert "refused the data" in failed(project, "fail").error
    assert not worker.events("poller.died")
