"""What the hot statements touch: the same few pages, whatever else the table holds and however much of it.

Run as a worker runs them, on a worker's connection. `PGSCHED_TEST_ROWS=5000000` makes the crowd as large as that.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgsched.domain.completion import Delete
from pgsched.domain.execution import NewExecution, TaskInstance
from pgsched.errors import ExecutionNotFound
from pgsched.store import completing, liveness, picking, reading, scheduling
from pgsched.store.connecting import connect, connect_worker, worker_settings
from pgsched.store.operation import Query, drive
from pgsched.store.statement import Names, statements
from pgsched.store.workers import write_presence
from pgsched.worker.guard import Guard
from tests.postgres import new_database
from tests.store.acting import W

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pgsched.store.operation import Operation

NAMES = Names()
SIZES = [0, int(os.environ.get("PGSCHED_TEST_ROWS", "100_000"))]
OURS = 40
CROWDS = {
    "scheduled for the future, more urgent": "insert into scheduled_tasks"
    " (task_name, task_instance, execution_time, priority) select 't', 'crowd' || n, now() + n * interval '1 s', n %% 3"
    " from generate_series(1, %s) as n",
    "due, of a task that is not ours, more urgent": "insert into scheduled_tasks"
    " (task_name, task_instance, execution_time, priority) select 'other', n::text, now() - interval '1 day', n %% 3"
    " from generate_series(1, %s) as n",
    "due, of a task that is not ours, no less urgent": "insert into scheduled_tasks"
    " (task_name, task_instance, execution_time) select 'other', n::text, now() - interval '1 day'"
    " from generate_series(1, %s) as n",
    "picked by others": "insert into scheduled_tasks"
    " (task_name, task_instance, picked, picked_by, last_heartbeat)"
    " select 't', 'crowd' || n, true, 'p' || n %% 50, now()"
    " from generate_series(1, %s) as n",
}


@pytest.fixture(scope="module", params=SIZES)
def size(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module", params=CROWDS)
def crowded(
    request: pytest.FixtureRequest, server: str, template: str, size: int
) -> Generator[psycopg.Connection[Any]]:
    """A worker's connection to a table with a few due executions of ours and a crowd in the way."""
    with new_database(server, template=template) as conninfo:
        with psycopg.connect(conninfo, autocommit=True) as filling:
            filling.execute(CROWDS[request.param].encode(), (size,))
            filling.execute(
                "insert into scheduled_tasks (task_name, task_instance)"
                " select 't', n::text from generate_series(1, %s) as n",
                (OURS,),
            )
            filling.execute("vacuum analyze scheduled_tasks")
        connection = connect_worker(
            conninfo, Guard(), name="plans", settings=worker_settings(timedelta(seconds=60))
        )
        connection.autocommit = False
        with connection:
            yield connection


def first_query(operation: Operation[Any]) -> Query:
    return next(operation)


def pick(connection: psycopg.Connection[Any]) -> Query:
    return picking.pick_query("me", ["t", "u"], marks(connection), limit=10)


def marks(connection: psycopg.Connection[Any]) -> picking.Marks:
    return drive(connection, NAMES, picking.survey(["t", "u"]), is_atomic=False).marks


def completion(connection: psycopg.Connection[Any], *, in_place: bool) -> Query:
    picked = picking.pick("me", ["t"], marks(connection), limit=10)
    held = drive(connection, NAMES, picked, is_atomic=False).executions
    assert len(held) == 10
    batch = [Delete(each) for each in held]
    writer = completing.Writer("me", timedelta(seconds=1))
    if in_place:
        return completing.complete_in_place(NAMES, writer, batch)[0].query
    return first_query(completing.complete(NAMES, writer, batch))


def recovery(connection: psycopg.Connection[Any]) -> Query:
    picked = picking.pick("me", ["t"], marks(connection), limit=10)
    drive(connection, NAMES, picked, is_atomic=False)
    return first_query(
        liveness.recover_of(NAMES, "me", liveness.Death("SIGKILL", [1]), max_crashes=5)
    )


def presence(connection: psycopg.Connection[Any]) -> Query:
    connection.execute(
        "insert into scheduled_tasks_workers (worker, host, pid, version, started_at, seen_at, seen_every, state,"
        " pollers, slots, busy, clock_offset, hears_notifications, tasks) select 'gone', 'h', 1, '0', now(),"
        " now() - interval '2 hours', '5 s', 'running', 1, 1, 0, '0', true, '{}'"
    )
    return write_presence(W)[1]


STATEMENTS: dict[str, tuple[Callable[[psycopg.Connection[Any]], Query], int]] = {
    "a worker's row, while another is to be forgotten": (presence, 260),
    "survey": (lambda _: first_query(picking.survey(["t", "u"])), 80),
    "overdue of unknown tasks": (
        lambda _: first_query(picking.overdue_unknown(["t"], overdue=timedelta(minutes=1))),
        40,
    ),
    "pick": (pick, 400),
    "complete in place": (lambda c: completion(c, in_place=True), 60),
    "complete by key": (lambda c: completion(c, in_place=False), 120),
    "schedule": (
        lambda _: first_query(scheduling.schedule(NAMES, [NewExecution("t", "new")])),
        60,
    ),
    "beat": (lambda _: first_query(liveness.beat(["me"])), 20),
    "release of": (lambda _: first_query(liveness.release_of(NAMES, "me")), 20),
    "recover of": (
        lambda _: first_query(
            liveness.recover_of(NAMES, "me", liveness.Death("SIGKILL", [1]), max_crashes=5)
        ),
        20,
    ),
    "recover what died": (recovery, 260),
    "states, counted up to 100": (lambda _: Query("count_states", {"most": 100}), 400),
    "workers, and what they hold up to 100": (lambda _: Query("list_workers", {"most": 100}), 120),
    "due tasks": (lambda _: Query("due_tasks", {}), 100),
    "failing tasks": (lambda _: Query("failing_tasks", {"most": 100, "limit": 10}), 20),
    "recurring tasks": (lambda _: Query("recurring_tasks", {"instance": "default"}), 20),
    "cancel": (lambda _: first_query(scheduling.cancel(TaskInstance("t", "1"))), 30),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_hot_statement_touches_a_few_pages_whatever_the_table_holds(
    crowded: psycopg.Connection[Any], name: str
) -> None:
    make, most = STATEMENTS[name]
    try:
        plan = explained(crowded, make(crowded))
        assert "Seq Scan" not in [node["Node Type"] for node in nodes(plan) if is_on_table(node)]
        assert touched(plan) <= most
    finally:
        crowded.rollback()


def test_a_pick_from_a_mark_does_not_read_what_was_deleted_before_it(
    server: str, template: str
) -> None:
    """Somebody's open transaction keeps each deleted row, and its index entries, from being swept."""
    with new_database(server, template=template) as conninfo, psycopg.connect(conninfo) as pinning:
        with psycopg.connect(conninfo, autocommit=True) as filling:
            filling.execute(
                "insert into scheduled_tasks (task_name, task_instance)"
                " select 't', n::text from generate_series(1, 20000) as n"
            )
        pinning.execute("set transaction isolation level repeatable read")
        pinning.execute("select from scheduled_tasks")
        with connect_worker(
            conninfo, Guard(), name="plans", settings=worker_settings(timedelta(seconds=60))
        ) as connection:
            writer = completing.Writer("me", timedelta(seconds=1))
            at = marks(connection)
            for _ in range(15):
                picked = drive(
                    connection, NAMES, picking.pick("me", ["t"], at, limit=1000), is_atomic=False
                )
                at = {**at, **picked.marks}
                batch = [Delete(each) for each in picked.executions]
                [deleting] = completing.complete_in_place(NAMES, writer, batch)
                psycopg.Cursor(connection).execute(
                    statements(NAMES)["complete_delete_in_place"], deleting.query.parameters
                )
            connection.autocommit = False
            from_mark = explained(connection, picking.pick_query("me", ["t"], at, limit=10))
            connection.rollback()
            afresh = explained(
                connection, picking.pick_query("me", ["t"], marks(connection), limit=10)
            )
            connection.rollback()
        assert touched(from_mark) <= 400
        assert touched(afresh) > 3 * touched(from_mark), "without the mark it would read them"


CALLS: dict[str, Callable[[str], Operation[Any]]] = {
    "schedule": lambda name: scheduling.schedule(NAMES, [NewExecution("t", name)]),
    "get": lambda name: reading.get(TaskInstance("t", name)),
    "cancel": lambda name: scheduling.cancel(TaskInstance("t", name)),
    "reschedule": lambda name: scheduling.reschedule(
        NAMES, TaskInstance("t", name), when=timedelta(0), changes={}
    ),
    "list": lambda _: reading.list_executions(task="t", state=None, limit=10),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_a_client_prepared_on_an_empty_table_stays_quick_when_it_has_filled(
    server: str, template: str, call: str
) -> None:
    with (
        new_database(server, template=template) as conninfo,
        connect(conninfo) as connection,
    ):
        connection.execute("vacuum analyze scheduled_tasks")
        connection.autocommit = False
        for n in range(10):
            with suppress(ExecutionNotFound):
                drive(connection, NAMES, CALLS[call](f"a{n}"), is_atomic=False)
        connection.execute(
            "insert into scheduled_tasks (task_name, task_instance)"
            " select 't', n::text from generate_series(1, 2000) as n"
        )
        connection.commit()
        drive(connection, NAMES, CALLS[call]("7"), is_atomic=False)
        [(scans,)] = connection.execute(
            "select seq_scan from pg_stat_xact_user_tables where relname = 'scheduled_tasks'"
        ).fetchall()
        assert scans == 0


def explained(connection: psycopg.Connection[Any], query: Query) -> dict[str, Any]:
    text = b"explain (analyze, buffers, format json) " + statements(NAMES)[query.statement]
    [(plan,)] = connection.execute(text, query.parameters).fetchall()
    return dict(plan[0]["Plan"])


def touched(plan: dict[str, Any]) -> int:
    """Pages, each time one is read."""
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]


def is_on_table(node: dict[str, Any]) -> bool:
    return bool(node.get("Relation Name") == "scheduled_tasks")
