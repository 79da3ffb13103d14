"""What a worker does with executions, on a real database with real processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from pgsched import Client
from pgsched.domain.execution import NewExecution
from pgsched.store.scheduling import schedule
from pgsched.store.statement import statements
from tests.store.acting import Store
from tests.waiting import wait_until
from tests.worker.running import Project, Worker

Start = Callable[..., Worker]


def test_a_row_inserted_by_plain_sql_runs(project: Project, start: Start) -> None:
    project.sql("insert into scheduled_tasks (task_name, task_instance) values ('run', 'by-sql')")
    start()
    project.wait_entries("ran", "by-sql")
    project.wait_gone("by-sql")


def test_plain_and_async_tasks_run_once_each(project: Project, start: Start) -> None:
    many = [(task, f"{task}-{n}") for task in ("run", "run-async") for n in range(200)]
    assert project.client.schedule_many(many) == 400
    start()
    wait_until(
        lambda: not project.client.list(task="run") and not project.client.list(task="run-async")
    )
    ran = [entry.instance for entry in project.diary("ran")]
    assert sorted(ran) == sorted(instance for _, instance in many)


def test_a_row_of_an_unknown_task_is_never_touched(project: Project, start: Start) -> None:
    project.sql(
        "insert into scheduled_tasks (task_name, task_instance) values ('unknown', 'theirs')"
    )
    before = project.row("theirs")
    start()
    project.client.schedule("run", "ours")
    project.wait_gone("ours")
    assert project.row("theirs") == before


def test_what_is_picked_by_others_with_a_fresh_heartbeat_is_left_alone(
    project: Project, start: Start
) -> None:
    project.sql(
        "insert into scheduled_tasks (task_name, task_instance, picked, picked_by, last_heartbeat)"
        " values ('run', 'theirs', true, 'node-1', now() + interval '2 seconds')"
    )
    before = project.row("theirs")
    start(heartbeat_timeout="1h", heartbeat_interval="1s")
    project.client.schedule("run", "ours")
    project.wait_gone("ours")
    assert project.row("theirs") == before


def test_what_others_stopped_beating_for_is_recovered_and_run(
    project: Project, start: Start
) -> None:
    project.sql(
        "insert into scheduled_tasks (task_name, task_instance, picked, picked_by, last_heartbeat, version)"
        " values ('run', 'theirs', true, 'node-1', now() - interval '1 hour', 7)"
    )
    worker = start()
    [entry] = project.wait_entries("ran", "theirs")
    assert entry.token == 9  # one for the recovery, one for our pick
    [event] = worker.wait_event("execution.recovered", instance="theirs")
    assert (event["poller"], event["crashes"]) == ("node-1", 1)
    project.wait_gone("theirs")


def test_a_heartbeat_far_in_the_future_does_not_live_for_ever(
    project: Project, start: Start
) -> None:
    project.sql(
        "insert into scheduled_tasks (task_name, task_instance, picked, picked_by, last_heartbeat)"
        " values ('run', 'theirs', true, 'node-1', now() + interval '10 years')"
    )
    start()
    project.wait_entries("ran", "theirs")


def test_what_is_scheduled_for_now_starts_at_once_on_an_idle_worker(
    project: Project, start: Start
) -> None:
    start(polling_interval="1h")
    lateness = []
    for number in range(20):
        scheduled = time.time()
        project.client.schedule("run", f"now-{number}")
        [entry] = project.wait_entries("ran", f"now-{number}")
        lateness.append(entry.at - scheduled)
    assert sorted(lateness)[10] < 1.0  # not the polling interval; the figures are in bench/


def test_what_is_scheduled_ahead_starts_on_time_not_at_the_polling_interval(
    project: Project, start: Start
) -> None:
    start(polling_interval="1h")
    due = datetime.now(UTC) + timedelta(seconds=1.5)
    project.client.schedule("run", "ahead", at=due)
    project.client.schedule("run", "much-later", at=due + timedelta(hours=1))
    [entry] = project.wait_entries("ran", "ahead")
    assert entry.at >= due.timestamp()
    assert entry.at < due.timestamp() + 2


def test_what_was_due_soon_before_the_worker_started_starts_on_time(
    project: Project, start: Start
) -> None:
    project.sql(
        "insert into scheduled_tasks (task_name, task_instance, execution_time)"
        " values ('run', 'soon', now() + interval '3 seconds')"
    )
    start(polling_interval="1h")
    project.wait_entries("ran", "soon")


def test_the_more_urgent_runs_first(project: Project, start: Start) -> None:
    for priority in (None, -5, 10, 0):
        project.client.schedule("run", f"priority-{priority}", priority=priority)
    start(processes=1, concurrency=1, batch_size=1)
    entries = project.wait_entries("ran", count=4)
    assert [entry.instance for entry in entries] == [
        "priority-10",
        "priority-0",
        "priority--5",
        "priority-None",
    ]


def test_a_recurring_task_runs_again_and_again_from_the_end_of_each_run(
    project: Project, start: Start
) -> None:
    worker = start()
    [first] = worker.wait_event("task.scheduled", task="tick")
    assert first["at"].endswith("Z"), "as the timestamp of the line"
    entries = project.wait_entries("ticked", "default", count=4)
    gaps = [after.at - before.at for before, after in pairwise(entries)]
    assert min(gaps) > 0.1, (
        "the interval, less what the worker's idea of the database's time may be late"
    )
    [row] = project.client.list(task="tick")
    assert row.last_success is not None
    assert row.consecutive_failures == 0


def test_a_recurring_task_whose_retries_are_exhausted_goes_on_with_its_schedule(
    project: Project, start: Start
) -> None:
    start()
    project.wait_entries("attempt-5", "default")
    [row] = project.client.list(task="tick-that-fails")
    assert row.last_failure is not None
    assert row.consecutive_failures >= 4


def test_a_broken_schedule_delays_its_task_and_says_so(project: Project, start: Start) -> None:
    worker = start()
    [event] = worker.wait_event("failure_handler.broken", task="broken-schedule")
    assert "no more times" in event["error"]
    [row] = project.client.list(task="broken-schedule")
    assert row.execution_time > datetime.now(UTC) + timedelta(minutes=4)


def test_what_a_task_schedules_is_written_with_its_success(project: Project, start: Start) -> None:
    project.client.schedule("chain", "link-5", 5)
    start()
    entries = project.wait_entries("ran", count=6)
    assert [entry.instance for entry in entries] == [f"link-{n}" for n in (5, 4, 3, 2, 1, 0)]


def test_what_a_failed_run_wanted_to_schedule_is_not_written(
    project: Project, start: Start
) -> None:
    project.client.schedule("chain-that-fails", "parent")
    worker = start()
    worker.wait_event("execution.failed", instance="parent")
    assert project.row("child-of-a-failure") is None
    assert project.row("parent") is not None


def test_two_workers_share_thousands_of_executions_and_run_each_once(
    project: Project, start: Start
) -> None:
    many = [("run" if n % 2 else "run-async", f"n{n}") for n in range(3000)]
    project.client.schedule_many(many)
    workers = [start(), start()]
    wait_until(
        lambda: not project.client.list(task="run") and not project.client.list(task="run-async"),
        timeout=60,
    )
    entries = project.diary("ran")
    assert len(entries) == 3000
    assert len({entry.instance for entry in entries}) == 3000
    assert len({entry.pid for entry in entries}) > 1
    assert [worker.stop() for worker in workers] == [0, 0]


def test_a_task_that_blocks_the_event_loop_stops_neither_others_nor_heartbeats(
    project: Project, start: Start
) -> None:
    worker = start(processes=1, heartbeat_timeout="1s", heartbeat_interval="200ms")
    project.begin("block-the-loop", "blocker", 3)
    project.client.schedule("run", "meanwhile")
    project.wait_gone("meanwhile")
    assert not project.diary("ended", "blocker")
    project.wait_gone("blocker")
    assert not worker.events("execution.recovered")
    assert len(project.diary("started", "blocker")) == 1


def test_a_task_that_holds_the_gil_keeps_its_heartbeat(project: Project, start: Start) -> None:
    """The housekeeper is a process of its own; as a thread in the poller it could not beat here."""
    worker = start(processes=1, heartbeat_timeout="1s", heartbeat_interval="200ms")
    project.begin("hold-the-gil", "holder", 12_000_000)
    wait_until(lambda: project.row("holder") is None, timeout=60, describe="the holder to end")
    started, ended = project.diary("started", "holder"), project.diary("ended", "holder")
    assert len(started) == len(ended) == 1
    assert not worker.events("execution.recovered")
    assert ended[0].at - started[0].at > 1.0, "it did not hold the GIL for longer than the timeout"


def test_history_that_is_not_there_yet_is_none_not_a_date(project: Project, start: Start) -> None:
    project.client.schedule("history", "h-1")
    start()
    project.wait_entries("None/None", "h-1")
    project.client.schedule("run", "later", in_=timedelta(hours=1))
    later = project.client.get("run", "later")
    assert later is not None
    assert (later.last_success, later.last_failure, later.last_heartbeat) == (None, None, None)


def test_an_execution_due_since_ever_does_not_stop_the_pick(project: Project, start: Start) -> None:
    project.sql(
        "insert into scheduled_tasks (task_name, task_instance, execution_time, last_success)"
        " values ('run', 'ever', '-infinity', 'infinity')"
    )
    worker = start()
    project.wait_entries("ran", "ever")
    project.wait_gone("ever")
    assert not worker.events("poller.died")


def test_an_async_function_behind_a_plain_wrapper_runs(project: Project, start: Start) -> None:
    project.client.schedule("wrapped", "w-1")
    start()
    project.wait_entries("ran", "w-1")
    project.wait_gone("w-1")


def test_slow_executions_spread_over_pollers_even_after_quick_ones(
    project: Project, start: Start
) -> None:
    """Thousands of quick runs teach a poller to pick far ahead; what it then can't start it hands back."""
    start(processes=2, concurrency=2)
    project.client.schedule_many([("nothing", str(n)) for n in range(3000)])
    wait_until(lambda: not project.client.list(task="nothing", limit=1), describe="no quick ones")
    project.client.schedule_many([("sleep", f"slow{n}", 5) for n in range(4)])
    started = project.wait_entries("started", count=4)
    assert not project.diary("ended")
    assert sorted(Counter(entry.pid for entry in started).values()) == [2, 2]


def test_of_many_who_schedule_at_once_nobody_waits_for_the_polling_interval(
    project: Project, start: Start
) -> None:
    """Most of them leave the notification to another."""
    start(processes=2, polling_interval="1h", heartbeat_timeout="1h")

    def schedule(number: int) -> None:
        with Client(project.conninfo) as client:
            for n in range(25):
                client.schedule("nothing", f"{number}-{n}")

    threads = [threading.Thread(target=schedule, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: not project.client.list(task="nothing", limit=1), describe="none left")


def test_one_that_left_the_notification_to_another_and_commits_after_it_is_found(
    project: Project, start: Start
) -> None:
    start(polling_interval="1h", heartbeat_timeout="1h")
    project.sql("delete from scheduled_tasks")  # recurring ones would wake pollers
    with Store(project.conninfo) as notifying, Store(project.conninfo) as silent:
        with silent.connection.transaction():
            with notifying.connection.transaction():
                assert add_alone(notifying, "first") == "notified"
                assert add_alone(silent, "second") == "left to another"
            project.wait_gone("first")
            wait_until(lambda: are_asleep(project), describe="pollers to sleep")
        project.wait_gone("second")


def are_asleep(project: Project) -> bool:
    [(are_quiet,)] = project.sql(
        "select bool_and(clock_timestamp() - state_change > '0.3 s') from pg_stat_activity"
        " where datname = current_database() and application_name ~ '^pgsched .*/[0-9]+-'"
    )
    return bool(are_quiet)


def add_alone(store: Store, instance: str) -> str:
    query = next(schedule(store.names, [NewExecution("run", instance)], is_alone=True))
    [(notified,)] = store.connection.execute(
        statements(store.names)[query.statement], query.parameters
    ).fetchall()
    return "left to another" if notified is None else "notified"


@pytest.mark.parametrize("payload", ["1e300", "-1e300", "nan", "-infinity", "", "now", "9" * 400])
def test_whatever_somebody_notifies_pollers_go_on(
    project: Project, start: Start, payload: str
) -> None:
    worker = start(processes=1)
    project.client.schedule("run", "before")
    project.wait_gone("before")
    project.sql("select pg_notify('pgsched.scheduled_tasks', %s)", payload)
    project.client.schedule("run", "after")
    project.wait_gone("after")
    assert not worker.events("poller.died")


def test_idle_pollers_leave_the_looking_to_the_housekeeper(project: Project, start: Start) -> None:
    start(processes=2, polling_interval="300ms")
    project.sql("delete from scheduled_tasks")  # recurring ones would wake pollers
    wait_until(
        lambda: (
            project.sql(
                "select max(query_start) filter (where application_name like '%%/housekeeper')"
                " > max(query_start) filter (where application_name ~ '/[0-9]+-') + interval '2 s'"
                " from pg_stat_activity where datname = current_database()"
            )
            == [(True,)]
        ),
        describe="pollers to be silent while the housekeeper looks",
    )
    project.sql("insert into scheduled_tasks (task_name, task_instance) values ('run', 'by-sql')")
    project.wait_gone("by-sql")


def test_pollers_look_themselves_when_the_housekeeper_does_not(
    project: Project, start: Start
) -> None:
    worker = start(processes=1, polling_interval="300ms")
    os.kill(worker.housekeeper, signal.SIGSTOP)
    project.sql("insert into scheduled_tasks (task_name, task_instance) values ('run', 'by-sql')")
    project.wait_gone("by-sql")
