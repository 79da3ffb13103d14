"""Rows of those who work here: written by themselves, removed by themselves, forgotten after an hour."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg

from pgsched.store.operation import run_together
from pgsched.store.overview import overview
from pgsched.store.statement import Names
from pgsched.store.workers import remove_presence, write_presence
from tests.store.acting import HOUR, Store, W

if TYPE_CHECKING:
    from pgsched.domain.presence import Presence

NAMES = Names()


def write(store: Store, presence: Presence) -> None:
    run_together(store.connection, NAMES, write_presence(presence))


def seen(store: Store) -> list[str]:
    return [each.presence.worker for each in overview(store.connection, NAMES).workers]


def not_seen_for(store: Store, worker: str, age: str) -> None:
    store.connection.execute(
        "update scheduled_tasks_workers set seen_at = now() - %s::interval where worker = %s",
        (age, worker),
    )


def test_what_a_worker_says_is_what_others_see(store: Store) -> None:
    write(store, W)
    write(store, W._replace(state="draining", busy=3))
    [found] = overview(store.connection, NAMES).workers
    assert found.presence == W._replace(state="draining", busy=3)
    assert found.is_alive


def test_a_worker_is_alive_until_three_of_its_signs_are_missing(store: Store) -> None:
    write(store, W)
    not_seen_for(store, "w", "89 s")
    assert overview(store.connection, NAMES).alive
    not_seen_for(store, "w", "91 s")
    assert not overview(store.connection, NAMES).alive


def test_whoever_leaves_does_not_take_its_successor_along(store: Store) -> None:
    """Under one name, after a restart: without host and pid in the fence of remove_worker.sql it does."""
    write(store, W._replace(pid=8))
    run_together(store.connection, NAMES, remove_presence("w", "here", 7))
    assert seen(store) == ["w"]
    run_together(store.connection, NAMES, remove_presence("w", "here", 8))
    assert seen(store) == []


def test_others_are_forgotten_after_an_hour_but_for_those_that_somebody_has_locked(
    store: Store,
) -> None:
    """Without `skip locked` in write_worker.sql the worker fails to say that it is here itself."""
    for name in ("fresh", "old", "locked"):
        write(store, W._replace(worker=name))
    not_seen_for(store, "fresh", "59 min")
    not_seen_for(store, "old", "61 min")
    not_seen_for(store, "locked", "61 min")
    with psycopg.connect(store.conninfo) as locking:
        locking.execute("select from scheduled_tasks_workers where worker = 'locked' for update")
        write(store, W)
    assert seen(store) == ["fresh", "locked", "w"]


def test_who_holds_executions_is_not_forgotten_until_they_are_taken_over(store: Store) -> None:
    """Its tasks may be known to nobody else. Names of other programs, of workers that hold too, and of one that has
    an other's name and a slash in its own, make no difference.
    """
    pollers = ["node", *(f"w/{n}-1f" for n in range(3)), "dead/too/0-2f", "dead/too/1-3f"]
    for number, poller in enumerate(pollers):
        store.connection.execute(
            "insert into scheduled_tasks (task_name, task_instance, picked, picked_by)"
            " values ('a', %s, true, %s)",
            (str(number), poller),
        )
    for name in ("dead", "dead/too", "idle"):
        write(store, W._replace(worker=name))
    for name in ("dead", "dead/too", "idle"):
        not_seen_for(store, name, "2 days")
    write(store, W)
    held = {each.presence.worker: each.held for each in overview(store.connection, NAMES).workers}
    assert held == {"dead/too": 2, "w": 3}
    store.connection.execute("update scheduled_tasks set picked = false, picked_by = null")
    write(store, W)
    assert seen(store) == ["w"]


def test_one_that_was_away_for_a_day_comes_back_as_itself(store: Store) -> None:
    write(store, W)
    not_seen_for(store, "w", "2 days")
    write(store, W)
    assert overview(store.connection, NAMES).alive


def test_infinite_times_of_other_programs_are_shown(store: Store) -> None:
    write(store, W)
    insert: Any = (
        "insert into scheduled_tasks (task_name, task_instance, execution_time, consecutive_failures, last_failure)"
        " values ('a', '1', '-infinity', 1, '-infinity'), ('b', 'default', 'infinity', 1, 'infinity')"
    )
    store.connection.execute(insert)
    found = overview(store.connection, NAMES)
    assert found.queue.due == 1
    assert found.due[0].is_known
    assert {each.task for each in found.failing} == {"a", "b"}
    [recurring] = found.recurring
    assert recurring.execution_time is not None
    assert recurring.execution_time.year == 9999


def told_timeout(store: Store) -> timedelta | None:
    [worker] = overview(store.connection, NAMES).workers
    return worker.presence.heartbeat_timeout


def test_a_reload_lengthens_the_timeout_and_does_not_shorten_it(store: Store) -> None:
    """What an earlier generation holds is beaten for as rarely as that one was told."""
    minute = timedelta(minutes=1)
    write(store, W._replace(heartbeat_timeout=minute))
    write(store, W._replace(heartbeat_timeout=3 * minute, pid=8))
    assert told_timeout(store) == 3 * minute
    write(store, W._replace(heartbeat_timeout=2 * minute, pid=9))
    assert told_timeout(store) == 3 * minute
    not_seen_for(store, "w", "2 minutes")
    write(store, W._replace(heartbeat_timeout=minute, pid=10))
    assert told_timeout(store) == minute


def test_nobody_is_called_dead_before_its_own_timeout(store: Store) -> None:
    """Without, a worker with a shorter one recovered what another still ran."""
    write(store, W._replace(heartbeat_timeout=3 * HOUR))
    store.schedule("a", "b")
    store.pick("w/1-x", limit=1)
    store.pick("other/1-x", limit=1)
    for each in ("a", "b"):
        store.age_heartbeat(each, 2 * HOUR)
    assert [recovered.poller for recovered in store.recover_dead()] == ["other/1-x"]
    store.age_heartbeat("a", 2 * HOUR)
    assert [recovered.poller for recovered in store.recover_dead()] == ["w/1-x"]


def test_nobody_is_called_dead_sooner_by_its_own_timeout(store: Store) -> None:
    write(store, W._replace(heartbeat_timeout=HOUR / 3))
    store.schedule("a")
    store.pick("w/1-x")
    store.age_heartbeat("a", HOUR / 2)
    assert store.recover_dead() == []
