"""What holds when the database is away. A server of the test's own is stopped, killed and started again."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from tests.waiting import wait_until
from tests.worker.running import Project, Worker

Start = Callable[..., Worker]


def test_terminated_backends_lose_no_result(project: Project, start: Start) -> None:
    worker = start()
    project.client.schedule("sleep", "plain", 1)
    project.client.schedule("sleep-async", "async", 1)
    project.wait_entries("started", count=2)
    with psycopg.connect(project.conninfo, autocommit=True) as connection:
        [(ended,)] = connection.execute(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where datname = current_database() and application_name like 'pgsched %'"
        ).fetchall()
    assert ended == 4  # two pollers, the housekeeper and its listener
    project.wait_gone("plain")
    project.wait_gone("async")
    assert len(project.diary("started")) == 2
    worker.wait_event("database.regained", connection="housekeeper")
    lost = worker.events("database.lost")
    assert [line for line in lost if not line.keys() & {"poller", "connection"}] == []
    project.client.schedule("run", "afterwards")
    project.wait_gone("afterwards")


def test_wake_ups_come_back_after_the_listening_connection_was_lost(
    project: Project, start: Start
) -> None:
    start(polling_interval="1h")
    with psycopg.connect(project.conninfo, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name like 'pgsched %/listener'"
        )
        wait_until(
            lambda: connection.execute(
                "select 1 from pg_stat_activity where datname = current_database() and query ilike 'listen%%'"
            ).fetchone(),
            describe="somebody to listen again",
        )
    project.client.schedule("run", "afterwards")
    project.wait_gone("afterwards")


def test_results_wait_while_the_table_is_locked(project: Project, start: Start) -> None:
    start()
    project.begin("sleep", "plain", 1)
    with psycopg.connect(project.conninfo) as connection:
        connection.execute("lock table scheduled_tasks in access exclusive mode")
        project.wait_entries("ended", "plain")
        connection.rollback()
    project.wait_gone("plain")
    assert len(project.diary("started", "plain")) == 1


def test_a_pick_whose_answer_was_lost_does_not_stay_picked(project: Project, start: Start) -> None:
    """As if the connection had broken between a pick's commit and its answer: the row is this poller's, which lives
    and beats for it, but it knows nothing of it.
    """
    start(processes=1, polling_interval="1h")
    project.begin("sleep", "known", 30)
    with psycopg.connect(project.conninfo, autocommit=True) as connection:
        connection.execute(
            "insert into scheduled_tasks (task_name, task_instance, picked, picked_by, last_heartbeat, version)"
            " select 'run', 'lost', true, picked_by, now(), 2 from scheduled_tasks where task_instance = 'known'"
        )
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name ~ '^pgsched .*/0-'"
        )
    project.wait_gone("lost")
    assert len(project.diary("started", "known")) == 1
    project.client.schedule("run", "afterwards")
    project.wait_gone("afterwards")
