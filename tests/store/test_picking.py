"""Taking due executions, and knowing when the next one comes."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import psycopg

from pgsched.domain.execution import NewExecution
from pgsched.store import picking, scheduling
from tests.store.acting import FUTURE, HOUR, PAST, Store


def test_a_pick_takes_what_is_due_and_leaves_a_mark(store: Store) -> None:
    store.schedule("due", data='{"n": 1}', at=PAST)
    store.schedule("later", at=FUTURE)
    [held] = store.pick("poller-1")
    assert (held.task_instance, held.task_data, held.version) == ("due", '{"n": 1}', 2)
    row = next(row for row in store.rows() if row["task_instance"] == "due")
    assert (row["picked"], row["picked_by"], row["version"]) == (True, "poller-1", 2)
    assert row["last_heartbeat"] is not None
    assert row["execution_time"] == PAST


def test_a_pick_of_nothing_still_tells_the_databases_time(store: Store) -> None:
    picked = store.run(picking.pick("p", ["t"], limit=10))
    assert picked.executions == []
    assert abs(picked.at - datetime.now(UTC)) < timedelta(minutes=1)


def test_nothing_is_picked_twice_and_no_more_than_asked(store: Store) -> None:
    store.schedule("a", "b", "c")
    assert len(store.pick(limit=2)) == 2
    assert len(store.pick(limit=2)) == 1
    assert store.pick(limit=2) == []


def test_tasks_that_are_not_known_are_left_alone(store: Store) -> None:
    store.schedule("a", task="other")
    before = store.rows()
    assert store.pick() == []
    assert store.rows() == before


def test_the_more_urgent_come_first_then_the_older(store: Store) -> None:
    wanted = [
        NewExecution("t", "none-old", None, PAST),
        NewExecution("t", "none-new", None, PAST + HOUR),
        NewExecution("t", "low", None, PAST, -5),
        NewExecution("t", "high-new", None, PAST + HOUR, 5),
        NewExecution("t", "high-old", None, PAST, 5),
    ]
    store.run(scheduling.schedule(store.names, wanted))
    order = ["high-old", "high-new", "low", "none-old", "none-new"]
    assert [held.task_instance for held in store.pick()] == order


def test_of_eight_pollers_at_once_each_row_goes_to_one(store: Store) -> None:
    """Without `for update skip locked` they wait for each other, or take the same."""
    store.schedule(*(f"n{n}" for n in range(2000)))
    taken: list[str] = []

    def poll(name: str) -> None:
        with Store(store.conninfo) as mine:
            while picked := mine.pick(name, limit=17):
                taken.extend(held.task_instance for held in picked)

    threads = [threading.Thread(target=poll, args=(f"p{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while picked := store.pick(limit=100):  # rows skipped while another held its locks
        taken.extend(held.task_instance for held in picked)
    assert len(taken) == len(set(taken)) == 2000


def test_a_row_that_somebody_locks_is_passed_over_not_waited_for(
    store: Store, database: str
) -> None:
    store.schedule("locked", "free")
    with psycopg.connect(database) as other:
        other.execute("select 1 from scheduled_tasks where task_instance = 'locked' for update")
        assert [held.task_instance for held in store.pick()] == ["free"]


def test_times_that_python_can_not_hold_are_bounded(store: Store) -> None:
    store.sql(
        "insert into scheduled_tasks (task_name, task_instance, execution_time, last_success, last_failure)"
        " values ('t', 'a', '-infinity', 'infinity', '12000-01-01')"
    )
    [held] = store.pick()
    assert held.execution_time.year == 1
    assert held.last_success is not None
    assert held.last_failure is not None


def next_due(store: Store, since: datetime = PAST) -> timedelta | None:
    return store.run(picking.next_due(since))


def test_the_next_due_time_is_the_soonest_of_all_priorities(store: Store) -> None:
    now = store.run(picking.database_now())
    wanted = [
        NewExecution("t", f"p{priority}", None, now + timedelta(hours=hours), priority)
        for priority, hours in ((None, 5), (10, 7), (-3, 2), (0, 9), (2**31 - 1, 3), (-(2**31), 8))
    ]
    store.run(scheduling.schedule(store.names, wanted))
    wait = next_due(store, now)
    assert wait is not None
    assert abs(wait - timedelta(hours=2)) < timedelta(seconds=10)


def test_without_anything_ahead_there_is_no_next_due_time(store: Store) -> None:
    assert next_due(store) is None
    store.sql(
        "insert into scheduled_tasks (task_name, task_instance, execution_time) values ('t', 'a', 'infinity')"
    )
    assert next_due(store) is None
    store.schedule("b", at=PAST - HOUR)
    store.schedule("c", at=FUTURE)
    store.sql("update scheduled_tasks set picked = true where task_instance = 'c'")
    assert next_due(store) is None


def test_what_became_due_since_the_pick_is_not_missed(store: Store) -> None:
    picked_at = store.run(picking.database_now())
    store.schedule("a", at=picked_at + timedelta(microseconds=1))
    wait = next_due(store, picked_at)
    assert wait is not None
    assert wait <= timedelta(0)
