"""The query by which KEDA scales, on a real Postgres: one number, whatever is in the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.deploy.shipped import DEPLOY
from tests.store.test_plans import is_on_table, nodes, touched

if TYPE_CHECKING:
    from collections.abc import Iterator

QUERY = (DEPLOY / "kubernetes/components/keda/backlog.sql").read_text("utf-8")
MOST = 10_000


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def backlog(connection: psycopg.Connection) -> float:
    [(number,)] = connection.execute(QUERY.encode()).fetchall()
    assert isinstance(number, float)  # which is what KEDA reads it as
    return number


def executions(connection: psycopg.Connection, task: str, count: int, **columns: str) -> None:
    """More of them. Values are SQL."""
    names, values = ", ".join(columns), ", ".join(columns.values())
    connection.execute(
        f"insert into scheduled_tasks (task_name, task_instance, {names})"
        f" select '{task}', n || gen_random_uuid()::text, {values} from generate_series(1, {count}) as n".encode()
    )


def live_worker(connection: psycopg.Connection, *tasks: str, seen: str = "now()") -> None:
    connection.execute(
        "insert into scheduled_tasks_workers (worker, host, pid, version, started_at, seen_at, seen_every, state,"
        " pollers, slots, busy, clock_offset, hears_notifications, tasks)"
        f" values (gen_random_uuid(), 'h', 1, '1', now(), {seen}, '30 s', 'running', 2, 20, 0, '0', true, %s)".encode(),
        [list(tasks)],
    )


def test_of_an_empty_table_it_is_nought(connection: psycopg.Connection) -> None:
    assert backlog(connection) == 0


def test_what_is_due_and_what_runs_needs_a_slot(connection: psycopg.Connection) -> None:
    """Of every priority, none among them; not what is for later, and once what is picked, though its time has come."""
    live_worker(connection, "a", "b", "idle")
    live_worker(connection, "c")
    past, later = "now() - interval '1 s'", "now() + interval '1 hour'"
    executions(connection, "a", 3, execution_time=past)
    executions(connection, "a", 4, execution_time=past, priority="n")
    executions(connection, "b", 5, execution_time=past, priority="-1")
    executions(connection, "b", 50, execution_time=later, priority="7")
    executions(connection, "b", 50, execution_time="'infinity'")
    executions(connection, "c", 6, execution_time=past, picked="true", picked_by="'w'")
    assert backlog(connection) == 3 + 4 + 5 + 6


def test_a_task_that_no_live_worker_knows_asks_for_none(connection: psycopg.Connection) -> None:
    """More workers of the same release wouldn't run it either. A worker that has fallen silent doesn't count."""
    live_worker(connection, "a")
    live_worker(connection, "old", seen="now() - interval '2 minutes'")
    for task in ("a", "unknown", "old"):
        executions(connection, task, 2, execution_time="now()")
    assert backlog(connection) == 2


def test_where_no_worker_is_alive_whatever_is_due_asks_for_one(
    connection: psycopg.Connection,
) -> None:
    """Else nobody would come back from nothing."""
    executions(connection, "a", 2, execution_time="now()")
    executions(connection, "b", 2, execution_time="now() + interval '1 hour'")
    assert backlog(connection) == 2
    live_worker(connection, "a", seen="now() - interval '1 day'")
    assert backlog(connection) == 2


def test_it_counts_to_a_limit(connection: psycopg.Connection) -> None:
    executions(connection, "a", 7000, execution_time="now()")
    executions(connection, "b", 7000, execution_time="now()", priority="n % 3")
    executions(connection, "c", MOST + 1, picked="true", picked_by="'w'")
    assert backlog(connection) == 2 * MOST


@pytest.mark.parametrize("analyze", [True, False], ids=["with statistics", "without"])
def test_what_is_scheduled_for_later_costs_nothing(
    connection: psycopg.Connection, analyze: bool
) -> None:
    """20,000 executions of each of two tasks to come: without the walk from priority to priority all are read."""
    live_worker(connection, "a", "b")
    for task in ("a", "b"):
        executions(
            connection, task, 20_000, execution_time="now() + n * interval '1 h'", priority="n % 5"
        )
        executions(connection, task, 10, execution_time="now()", priority="3")
    if analyze:
        connection.execute("vacuum analyze scheduled_tasks")
    assert backlog(connection) == 20
    [(plans,)] = connection.execute(
        f"explain (analyze, buffers, format json) {QUERY}".encode()
    ).fetchall()
    plan = plans[0]["Plan"]
    assert touched(plan) < 500
    assert "Seq Scan" not in {node["Node Type"] for node in nodes(plan) if is_on_table(node)}
