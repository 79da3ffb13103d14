"""What one look at a table finds, and what it costs; and that only one worker at a time has a lease."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from pgsched.domain.execution import RECURRING_INSTANCE
from pgsched.store import sampling
from pgsched.store.connecting import connect_worker, worker_settings
from pgsched.store.leasing import release_lease, take_lease
from pgsched.store.migrating import needed_version
from pgsched.store.operation import Query, run_together
from pgsched.worker.guard import Guard
from tests.store.acting import HOUR, Store
from tests.store.test_plans import NAMES, explained, touched

NOBODY = dict.fromkeys(("due", "scheduled", "running", "retrying", "failed", "unknown"), 0)


def sample(store: Store, *recurring: str) -> sampling.Sample:
    return store.run(sampling.sample(store.names, ["t"], recurring))


def test_an_empty_table_has_nothing(store: Store) -> None:
    found = sample(store, "t")
    assert found.executions == NOBODY
    assert (found.oldest_due_age_s, found.workers, found.next_runs) == (0, 0, {})


def test_each_execution_is_counted_by_its_state(store: Store) -> None:
    """Of every priority, none among them; one that nobody knows by its time too."""
    now = datetime.now(UTC)
    store.schedule("held")
    store.pick()
    store.schedule("later", "later still", at=now + HOUR)
    store.schedule("due", "due too", at=now - HOUR)
    store.schedule("stranger", task="unknown", at=now - 2 * HOUR)
    store.schedule("elsewhere", task="others", at=now - HOUR / 2)
    store.connection.execute(
        "update scheduled_tasks set priority = case task_instance when 'due' then 5 when 'later' then -3 end"
    )
    store.connection.execute(
        "insert into scheduled_tasks (task_name, task_instance, execution_time, consecutive_failures)"
        " values ('t', 'retrying', now() + interval '1 minute', 2), ('t', 'retried', now(), 2)"
    )
    store.connection.execute(
        "insert into scheduled_tasks_failed"
        " (task_name, task_instance, execution_time, consecutive_failures, version, crashes, attempts, error)"
        " select 't', n::text, now(), 3, 1, 0, 3, '' from generate_series(1, 4) as n"
    )
    store.connection.execute(
        "insert into scheduled_tasks_workers (worker, host, pid, version, started_at, seen_every, state, pollers,"
        " slots, busy, clock_offset, hears_notifications, tasks)"
        " select 'w' || n, 'h', 1, '1', now(), '30 s', 'running', 2, 20, 0, '0', true, array['others', 'more']"
        " from generate_series(1, 2) as n"
    )
    store.connection.execute(
        "insert into scheduled_tasks_workers (worker, host, pid, version, started_at, seen_at, seen_every, state,"
        " pollers, slots, busy, clock_offset, hears_notifications, tasks)"
        " values ('gone', 'h', 1, '1', now(), now() - interval '1 hour', '30 s', 'running', 2, 20, 0, '0', true,"
        " array['unknown'])"
    )
    found = sample(store)
    assert found.executions == {
        "due": 5,
        "scheduled": 2,
        "running": 1,
        "retrying": 1,
        "failed": 4,
        "unknown": 1,
    }
    assert found.workers == 2
    assert found.oldest_due_age_s == pytest.approx(3600, abs=60)


def test_times_of_recurring_tasks_are_told(store: Store) -> None:
    at = datetime(2030, 1, 31, 9, tzinfo=UTC)
    store.schedule(RECURRING_INSTANCE, at=at)
    found = sample(store, "t", "not-there")
    assert (found.next_runs, found.last_successes) == ({"t": at.timestamp()}, {})
    store.connection.execute("update scheduled_tasks set last_success = '2029-01-01 00:00+00'")
    assert sample(store, "t").last_successes == {"t": datetime(2029, 1, 1, tzinfo=UTC).timestamp()}


def test_an_open_transaction_has_its_age(store: Store, database: str) -> None:
    with psycopg.connect(database) as other:
        other.execute("select pg_sleep(0.2)")
        assert sample(store).oldest_transaction_age_s >= 0.2


def test_readiness_tells_which_schema_there_is(store: Store) -> None:
    needed = needed_version()
    found = store.run(sampling.readiness(needed))
    assert (found.is_writable, found.version, found.is_right) == (True, needed, True)
    assert not store.run(sampling.readiness(needed + 1)).is_right
    assert store.run(sampling.readiness(6)).is_right, "7 and 8 work with 6"
    assert not store.run(sampling.readiness(5)).is_right
    store.connection.execute("set transaction_read_only = on")
    store.connection.execute("set default_transaction_read_only = on")
    assert not store.run(sampling.readiness(needed)).is_writable


def test_no_count_reads_more_than_it_may(store: Store, database: str) -> None:
    """Of crowds of each state only the first are looked at. Without the limits it would be each row of them."""
    most = 100
    store.connection.execute(
        "insert into scheduled_tasks (task_name, task_instance, execution_time, priority, picked, picked_by,"
        " consecutive_failures) select case when n % 2 = 0 then 't' else 'unknown' end, n::text,"
        " now() + (n % 3 - 1.5) * interval '1 hour', nullif(n % 4, 0), n % 10 = 0, 'p', n % 5"
        " from generate_series(1, 20000) as n"
    )
    store.connection.execute("vacuum analyze scheduled_tasks")
    settings = worker_settings(timedelta(seconds=60))
    with connect_worker(database, Guard(), name="plans", settings=settings) as worker:
        unknown = Query("sample_unknown", {"most": most, "tasks": ["t"]})
        [[(strangers,)]] = run_together(worker, NAMES, [unknown])
        assert strangers == most
        assert touched(explained(worker, unknown)) < 15 * most


def test_a_lease_is_one_holders_until_it_runs_out_or_is_let_go(store: Store) -> None:
    def take(holder: str, length: timedelta = HOUR) -> bool:
        return store.run(take_lease("sampler", holder, length))

    assert take("a")
    assert not take("b")
    assert take("a", timedelta(0))
    assert take("b")
    store.run(release_lease("sampler", "a"))
    assert not take("a")
    store.run(release_lease("sampler", "b"))
    assert take("a")


def test_a_lease_that_a_clock_ahead_of_time_has_given_is_nobodys(store: Store) -> None:
    """Without the bound on the future nobody would have it before the clock is as far."""
    assert store.run(take_lease("sampler", "a", 3 * HOUR))
    assert store.run(take_lease("sampler", "b", HOUR))
    assert not store.run(take_lease("sampler", "c", HOUR / 2 + timedelta(seconds=1)))


def test_of_two_that_try_at_once_one_has_the_lease(store: Store, database: str) -> None:
    """Both have seen that it is free. Without the `where` of take_lease.sql both have it."""

    def taking(who: Store, holder: str) -> bool:
        wanted = {"lease": "sampler", "length": HOUR, "holder": holder}
        return bool(run_together(who.connection, NAMES, [Query("take_lease", wanted)])[0])

    with Store(database) as other:
        assert taking(store, "a")
        assert not taking(other, "b")
