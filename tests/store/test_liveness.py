"""Beats for what is held, recovery of what is dead."""

from __future__ import annotations

from datetime import timedelta

import psycopg

from tests.store.acting import HOUR, Store, next_run


def test_a_beat_refreshes_what_these_pollers_hold_and_nothing_else(store: Store) -> None:
    store.schedule("mine", "theirs", "free")
    store.sql(
        "update scheduled_tasks set picked = true, picked_by = task_instance, last_heartbeat = '2020-01-01Z'"
        " where task_instance <> 'free'"
    )
    assert store.beat("mine", "nobody") == 1
    free, mine, theirs = store.rows()
    assert mine["last_heartbeat"].year > 2020
    assert theirs["last_heartbeat"].year == 2020
    assert free["last_heartbeat"] is None
    assert mine["version"] == 1


def test_a_beat_does_not_wait_for_a_completion_under_way(store: Store, database: str) -> None:
    store.schedule("a", "b")
    store.pick()
    with psycopg.connect(database) as other:
        other.execute("select 1 from scheduled_tasks where task_instance = 'a' for update")
        assert store.beat("p") == 1


def test_what_is_silent_for_longer_than_the_timeout_is_due_again_with_a_crash_more(
    store: Store,
) -> None:
    store.schedule("dead", "alive")
    assert [held.task_instance for held in store.pick("q", limit=1)] == ["alive"]
    store.pick("p")
    store.age_heartbeat("dead", HOUR + timedelta(minutes=1))
    [recovered] = store.recover_dead()
    assert (recovered.task_instance, recovered.poller, recovered.crashes) == ("dead", "p", 1)
    alive, dead = store.rows()
    assert alive["picked"]
    assert (dead["picked"], dead["picked_by"], dead["last_heartbeat"]) == (False, None, None)
    assert (dead["crashes"], dead["consecutive_failures"], dead["version"]) == (1, 0, 3)
    assert [held.task_instance for held in store.pick()] == ["dead"]


def test_a_heartbeat_as_far_in_the_future_is_dead_too(store: Store) -> None:
    store.schedule("a")
    store.pick()
    store.age_heartbeat("a", -HOUR + timedelta(minutes=1))
    assert store.recover_dead() == []
    store.age_heartbeat("a", timedelta(minutes=-2))
    assert len(store.recover_dead()) == 1


def test_tasks_that_are_not_known_are_nobodys_to_recover(store: Store) -> None:
    store.schedule("a")
    store.pick()
    store.age_heartbeat("a", 2 * HOUR)
    assert store.recover_dead(tasks=["other"]) == []


def test_what_was_picked_without_ever_beating_is_left_alone(store: Store) -> None:
    store.schedule("a")
    store.sql("update scheduled_tasks set picked = true, picked_by = 'somebody'")
    assert store.recover_dead() == []


def test_too_many_crashes_in_a_row_make_a_failed_execution(store: Store) -> None:
    store.schedule("a", data="[1]")
    for crashes in (1, 2):
        store.pick()
        [recovered] = store.recover_of("p", max_crashes=3)
        assert (recovered.crashes, recovered.is_buried) == (crashes, False)
    store.pick()
    [buried] = store.recover_of("p", max_crashes=3)
    assert (buried.crashes, buried.is_buried) == (3, True)
    assert store.rows() == []
    [row] = store.failed_rows()
    assert (row["crashes"], row["attempts"], row["task_data"]) == (3, 3, [1])
    assert "3 times" in row["error"]


def test_a_run_that_ends_sets_the_crashes_back(store: Store) -> None:
    store.schedule("a")
    store.pick()
    store.recover_of("p")
    [held] = store.pick()
    store.complete(next_run(held, has_succeeded=False))
    [row] = store.rows()
    assert row["crashes"] == 0


def test_recovering_a_poller_touches_nobody_elses(store: Store) -> None:
    store.schedule("a", "b")
    store.pick("first", limit=1)
    store.pick("second", limit=1)
    assert len(store.recover_of("first")) == 1
    assert store.recover_of("first") == []
    assert sum(row["picked"] for row in store.rows()) == 1


def test_releasing_a_poller_counts_no_crash(store: Store) -> None:
    store.schedule("a", "b", "c")
    store.pick(limit=2)
    assert store.release_of("p") == (2, 0)
    assert [row["crashes"] for row in store.rows()] == [0, 0, 0]
    assert len(store.pick()) == 3


def test_of_two_recoveries_in_the_same_moment_one_counts(store: Store, database: str) -> None:
    store.schedule("a")
    store.pick()
    store.age_heartbeat("a", 2 * HOUR)
    with Store(database) as other, psycopg.connect(database) as locking:
        locking.execute("select 1 from scheduled_tasks for update")
        assert store.recover_dead() == []  # it is somebody's just now
        locking.rollback()
        assert len(store.recover_dead()) == 1
        assert other.recover_dead() == []


def test_of_several_that_died_with_their_worker_none_is_charged_and_each_is_suspected(
    store: Store,
) -> None:
    store.schedule("a", "b")
    store.pick("w/0-1", limit=1)
    store.pick("w/1-2", limit=1)
    for instance in ("a", "b"):
        store.age_heartbeat(instance, HOUR + timedelta(minutes=1))
    assert {each.crashes for each in store.recover_dead()} == {0}
    assert [(row["crashes"], row["suspicions"]) for row in store.rows()] == [(0, 1), (0, 1)]


def test_what_a_dead_worker_had_picked_since_its_last_beat_dies_with_the_rest(
    store: Store,
) -> None:
    """Or each of them would be found as the only one of its worker, one after the other."""
    store.schedule("a", "b", "c")
    for instance, poller in (("a", "w/0-1"), ("b", "w/0-1"), ("c", "w/1-2")):
        assert [held.task_instance for held in store.pick(poller, limit=1)] == [instance]
    for instance, minutes in (("a", 1), ("b", -1), ("c", -20)):
        store.age_heartbeat(instance, HOUR + timedelta(minutes=minutes))
    assert store.recover_dead() == []  # poller 0 still seems to live
    store.age_heartbeat("b", timedelta(minutes=2))
    assert store.recover_dead() == []  # poller 1 is silent for so long that it may be dead too
    store.age_heartbeat("c", timedelta(minutes=21))
    assert len(store.recover_dead()) == 3
    assert {(row["crashes"], row["suspicions"]) for row in store.rows()} == {(0, 1)}


def test_one_that_is_left_of_many_in_a_sweep_is_not_charged(store: Store) -> None:
    store.schedule("last")
    store.pick("w/0-1")
    store.age_heartbeat("last", HOUR + timedelta(minutes=1))
    [recovered] = store.recover_dead(companions=["w"])
    assert (recovered.worker, recovered.crashes) == ("w", 0)


def test_what_its_living_poller_has_forgotten_is_dead_after_twice_the_timeout(store: Store) -> None:
    store.schedule("forgotten", "other")
    store.pick()
    store.age_heartbeat("forgotten", 2 * HOUR - timedelta(minutes=1))
    assert store.recover_dead() == []
    store.age_heartbeat("forgotten", timedelta(minutes=2))
    assert [each.task_instance for each in store.recover_dead()] == ["forgotten"]


def test_what_somebody_has_locked_is_left_for_the_next_look(store: Store, database: str) -> None:
    store.schedule("a", "b")
    store.pick()
    with psycopg.connect(database) as locking:
        locking.execute("select 1 from scheduled_tasks where task_instance = 'a' for update")
        assert store.release_of("p") == (1, 1)
        locking.rollback()
    assert store.release_of("p") == (1, 0)


def test_what_died_beside_others_of_another_worker_is_charged(store: Store) -> None:
    store.schedule("a", "b")
    store.pick("w/0-1", limit=1)
    store.pick("v/0-2", limit=1)
    for instance in ("a", "b"):
        store.age_heartbeat(instance, HOUR + timedelta(minutes=1))
    assert {each.crashes for each in store.recover_dead()} == {1}


def test_of_what_a_dead_poller_held_only_what_had_started_is_touched(store: Store) -> None:
    store.schedule("a", "b", "c")
    started = [held.seq for held in store.pick() if held.task_instance != "c"]
    recovered = store.recover_of("p", started=started)
    assert {each.task_instance for each in recovered if not each.is_suspect} == {"c"}
    rows = [(row["crashes"], row["suspicions"], row["picked"]) for row in store.rows()]
    assert rows == [(0, 1, False), (0, 1, False), (0, 0, False)]


def test_when_the_clock_has_jumped_nobody_is_dead(store: Store) -> None:
    store.schedule("a")
    store.pick()
    store.age_heartbeat("a", HOUR + timedelta(minutes=1))
    [row] = store.sql("select now() as now")
    assert store.recover_dead(expected_now=row["now"] - timedelta(hours=2)) == []
    assert store.recover_dead(expected_now=row["now"] + timedelta(hours=2)) == []
    assert len(store.recover_dead(expected_now=row["now"])) == 1
