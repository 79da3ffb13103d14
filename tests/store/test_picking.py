"""Taking due executions, and knowing when the next one comes."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from time import monotonic

import psycopg
import pytest

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
    picked = store.run(picking.pick("p", ["t"], {}, limit=10))
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


def test_a_survey_knows_the_soonest_of_all_priorities(store: Store) -> None:
    now = store.run(picking.database_now())
    wanted = [
        NewExecution("t", f"p{priority}", None, now + timedelta(hours=hours), priority)
        for priority, hours in ((None, 5), (10, 7), (-3, 2), (0, 9), (2**31 - 1, 3), (-(2**31), 8))
    ]
    store.run(scheduling.schedule(store.names, wanted))
    found = store.survey("t")
    assert list(found.marks) == [2**31 - 1, 10, 0, -3, -(2**31), None]
    assert not found.is_any_due
    assert found.coming_s == pytest.approx(7200, abs=10)


def test_a_survey_says_how_long_the_database_took(store: Store) -> None:
    store.schedule("a")
    before = monotonic()
    took_s = store.survey("t").took_s
    assert took_s is not None
    assert 0.0 < took_s < monotonic() - before


def test_a_survey_does_not_see_the_tasks_of_others(store: Store) -> None:
    store.schedule("a", task="other", at=PAST)
    store.schedule("b", task="other", at=FUTURE)
    assert store.survey("t") == picking.Survey({}, is_any_due=False, coming_s=None)


def test_without_anything_ahead_nothing_comes(store: Store) -> None:
    store.sql(
        "insert into scheduled_tasks (task_name, task_instance, execution_time) values ('t', 'a', 'infinity')"
    )
    assert store.survey("t").coming_s is None
    store.schedule("b", at=PAST - HOUR)
    store.schedule("c", at=FUTURE)
    store.sql("update scheduled_tasks set picked = true where task_instance = 'c'")
    found = store.survey("t")
    assert found.is_any_due
    assert found.coming_s is None


def test_behind_what_is_due_a_survey_sees_what_comes(store: Store) -> None:
    store.schedule("a", at=PAST)
    store.schedule("b", at=FUTURE)
    found = store.survey("t")
    assert found.marks == {None: picking.Mark(PAST)}
    assert found.is_any_due
    assert found.coming_s is not None


def test_a_pick_goes_on_where_the_last_one_ended(store: Store) -> None:
    """Also among executions that are due at the very same time."""
    store.schedule(*map(str, range(10)), at=PAST)
    marks = store.survey("t").marks
    order: list[str] = []
    while (picked := store.run(picking.pick("p", ["t"], marks, limit=3))).executions:
        order += [held.task_instance for held in picked.executions]
        marks = {**marks, **picked.marks}
    assert order == [str(n) for n in range(10)]


def test_what_lies_behind_a_mark_is_found_by_the_next_survey(store: Store) -> None:
    store.schedule("a", at=PAST)
    marks = store.run(picking.pick("p", ["t"], store.survey("t").marks, limit=1)).marks
    store.schedule("before", at=PAST - HOUR)
    assert store.run(picking.pick("p", ["t"], marks, limit=1)).executions == []
    assert [held.task_instance for held in store.pick()] == ["before"]


def test_times_before_the_first_year_are_picked_too(store: Store) -> None:
    store.sql(
        "insert into scheduled_tasks (task_name, task_instance, execution_time) values"
        " ('t', 'a', '-infinity'), ('t', 'b', '-infinity'), ('t', 'c', '4000-01-01 BC')"
    )
    assert {held.task_instance for held in store.pick(limit=1)} <= {"a", "b"}
    assert {held.task_instance for held in store.pick()} >= {"c"}
    assert store.survey("t").marks == {}


def test_tasks_that_nobody_runs_are_found_by_what_is_overdue(store: Store) -> None:
    overdue = picking.overdue_unknown
    assert store.run(overdue(["t"], overdue=HOUR / 2)) == []
    store.schedule("a", at=datetime.now(UTC) - HOUR)
    store.schedule("a", "b", task="renamed", at=datetime.now(UTC) - HOUR)
    store.schedule("a", task="another", at=datetime.now(UTC) - HOUR)
    store.schedule("a", task="just-due", at=datetime.now(UTC))
    store.schedule("a", task="later", at=FUTURE)
    assert store.run(overdue(["t"], overdue=HOUR / 2)) == ["another", "renamed"]
