"""Schedule, reschedule, cancel: what clients do to the table."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgsched.domain.execution import NewExecution
from pgsched.errors import ExecutionNotFound, ExecutionRunning
from pgsched.store import scheduling
from pgsched.store.listening import NO_PRIORITY, Hint
from pgsched.store.scheduling import CHUNK
from tests.store.acting import FUTURE, HOUR, PAST, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


def test_schedule_inserts_what_plain_sql_would(store: Store) -> None:
    store.schedule("ours")
    store.sql("insert into scheduled_tasks (task_name, task_instance) values ('t', 'sql')")
    ours, by_sql = store.rows()
    for row in (ours, by_sql):
        del row["execution_time"], row["task_instance"], row["seq"]
    assert ours == by_sql


def test_schedule_never_overwrites(store: Store) -> None:
    assert store.schedule("a", data='{"n": 1}', at=FUTURE) == 1
    assert store.schedule("a", "b", data='{"n": 2}', at=PAST) == 1
    first, _ = store.rows()
    assert (first["task_data"], first["execution_time"], first["version"]) == ({"n": 1}, FUTURE, 1)


def test_scheduling_the_same_instance_twice_in_one_batch_counts_once(store: Store) -> None:
    assert store.schedule("a", "a") == 1


def test_more_than_a_chunk_is_scheduled_whole(store: Store) -> None:
    assert store.schedule(*(f"n{n}" for n in range(CHUNK + 1))) == CHUNK + 1
    assert store.schedule() == 0


def test_without_a_time_an_execution_is_due_now_or_after_the_delay_by_the_databases_clock(
    store: Store,
) -> None:
    store.schedule("now")
    store.run(scheduling.schedule(store.names, [NewExecution("t", "later")], delay=HOUR))
    [row] = store.sql(
        "select max(execution_time) - min(execution_time) as gap, min(execution_time) <= now() as is_due"
        " from scheduled_tasks"
    )
    assert row["is_due"]
    assert abs(row["gap"] - HOUR) < timedelta(minutes=1)


def test_what_an_open_transaction_schedules_is_not_there_until_it_commits(
    store: Store, database: str
) -> None:
    with Store(database) as other:
        with psycopg.connect(database) as connection:
            connection.execute(
                "insert into scheduled_tasks (task_name, task_instance) values ('t', 'a')"
            )
            assert other.pick() == []
            connection.commit()
        assert [held.task_instance for held in other.pick()] == ["a"]


def test_two_schedulers_of_the_same_instances_in_opposite_order_do_not_deadlock(
    store: Store,
) -> None:
    instances = [f"n{n}" for n in range(300)]
    added: list[int] = []

    def schedule(order: list[str]) -> None:
        with Store(store.conninfo) as mine:
            added.append(mine.schedule(*order))

    threads = [
        threading.Thread(target=schedule, args=(order,))
        for order in (instances, instances[::-1]) * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(added) == 300
    assert len(store.rows()) == 300


def test_schedulers_notify_once_with_the_soonest_new_time(store: Store) -> None:
    with psycopg.connect(store.conninfo, autocommit=True) as listening:
        listening.execute('listen "pgsched.scheduled_tasks"')
        store.schedule("a", at=FUTURE)
        store.schedule("a", at=PAST)  # not new: nobody need wake up
        new = [NewExecution("t", "b", None, FUTURE), NewExecution("t", "c", None, FUTURE - HOUR)]
        store.run(scheduling.schedule(store.names, new))
        store.run(scheduling.schedule(store.names, [NewExecution("t", "d", None, FUTURE, 7)]))
        heard = [notice.payload for notice in listening.notifies(timeout=0.5, stop_after=3)]
    assert list(map(Hint.read, heard)) == [
        Hint(FUTURE.timestamp(), NO_PRIORITY),
        Hint((FUTURE - HOUR).timestamp()),
        Hint(FUTURE.timestamp(), 7),
    ]


def test_reschedule_changes_what_it_is_given_and_nothing_else(store: Store) -> None:
    store.sql(
        "insert into scheduled_tasks (task_name, task_instance, task_data, priority, consecutive_failures,"
        " last_failure, last_success, crashes) values ('t', 'a', '{}', 3, 2, now(), now(), 1)"
    )
    [before] = store.rows()
    store.reschedule("a", FUTURE)
    [after] = store.rows()
    assert {key for key in after if after[key] != before[key]} == {"execution_time", "version"}
    assert after["version"] == before["version"] + 1
    store.reschedule("a", data='{"n": 1}')
    store.reschedule("a", priority=None)
    [last] = store.rows()
    assert (last["task_data"], last["priority"], last["execution_time"]) == ({"n": 1}, None, FUTURE)


def test_reschedule_by_a_delay_counts_from_the_databases_now(store: Store) -> None:
    store.schedule("a", at=FUTURE)
    store.reschedule("a", timedelta(0))
    assert [held.task_instance for held in store.pick()] == ["a"]


@pytest.mark.parametrize("act", [Store.cancel, Store.reschedule])
def test_what_is_not_there_and_what_is_running_can_not_be_changed(
    store: Store, act: object
) -> None:
    assert callable(act)
    with pytest.raises(ExecutionNotFound, match="'t', instance 'a'"):
        act(store, "a")
    store.schedule("a")
    store.pick()
    before = store.rows()
    with pytest.raises(ExecutionRunning, match="'t', instance 'a'"):
        act(store, "a")
    assert store.rows() == before


def test_cancel_deletes(store: Store) -> None:
    store.schedule("a", "b")
    store.cancel("a")
    assert [row["task_instance"] for row in store.rows()] == ["b"]


def test_of_a_cancel_and_a_pick_in_the_same_moment_one_wins(store: Store) -> None:
    instances = [f"n{n}" for n in range(200)]
    store.schedule(*instances)
    cancelled: list[str] = []

    def cancel_all() -> None:
        with Store(store.conninfo) as mine:
            for instance in instances:
                try:
                    mine.cancel(instance)
                except (ExecutionRunning, ExecutionNotFound):
                    continue
                cancelled.append(instance)

    canceller = threading.Thread(target=cancel_all)
    canceller.start()
    picked = [held.task_instance for _ in range(50) for held in store.pick(limit=4)]
    canceller.join()
    assert not set(picked) & set(cancelled)
    assert len(picked) + len(cancelled) + sum(not row["picked"] for row in store.rows()) == 200


def test_now_is_the_databases_not_ours(store: Store) -> None:
    """A worker's clock may be wrong; what this machine calls now never enters a statement."""
    store.schedule("a")
    [row] = store.sql("select now() - execution_time as age from scheduled_tasks")
    assert timedelta(0) <= row["age"] < timedelta(minutes=1)
    assert datetime.now(UTC)  # and is not asked


@pytest.fixture
def heard(store: Store) -> Generator[Callable[[], int]]:
    """How many notifications have come since the last call."""
    with psycopg.connect(store.conninfo, autocommit=True) as listening:
        listening.execute(f'listen "{store.names.channel}"'.encode())
        yield lambda: len(list(listening.notifies(timeout=0.2)))


def schedule_one(
    store: Store,
    instance: str,
    *,
    is_alone: bool = True,
    at: datetime | None = None,
) -> None:
    new = NewExecution("t", instance, None, at)
    store.run(scheduling.schedule(store.names, [new], is_alone=is_alone))


def test_in_a_transaction_of_the_callers_each_notifies_as_does_what_is_to_come(
    store: Store, heard: Callable[[], int]
) -> None:
    """When that transaction commits nobody knows."""
    schedule_one(store, "a")
    schedule_one(store, "b", is_alone=False)
    schedule_one(store, "c", at=FUTURE)
    assert heard() == 3


def test_while_another_is_about_to_notify_nobody_else_does(
    store: Store, heard: Callable[[], int]
) -> None:
    with Store(store.conninfo) as other, other.connection.transaction():
        schedule_one(other, "first")
        schedule_one(store, "second")
        assert heard() == 0
    assert heard() == 1


def test_many_texts_arrive_as_they_were(store: Store) -> None:
    """Whatever an array's own syntax makes of such characters."""
    awkward = [
        '"',
        "\\",
        '\\"',
        "{a,b}",
        "null",
        "NULL",
        ",",
        " a ",
        "'",
        "ü💥",
        "a\nb",
        "\\x41",
        "%s",
    ]
    new = [NewExecution(f"t{text}", f"i{text}", json.dumps(text)) for text in awkward]
    assert store.run(scheduling.schedule(store.names, new)) == len(awkward)
    found = {(row["task_name"], row["task_instance"], row["task_data"]) for row in store.rows()}
    assert found == {(f"t{text}", f"i{text}", text) for text in awkward}
