"""Writing what became of held executions: fenced, in batches, with a receipt for each."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import pytest

from pgsched.domain.completion import Reschedule
from pgsched.domain.execution import NewExecution
from pgsched.store.completing import Receipt, is_plain
from tests.store.acting import FUTURE, HOUR, Store, exhausted, next_run, released, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgsched.domain.completion import Completion
    from pgsched.domain.execution import Held

Ending: TypeAlias = "Callable[[Held], Completion]"
ENDINGS: list[Ending] = [succeeded, next_run, exhausted, released]


def test_a_one_time_execution_that_succeeded_is_gone(store: Store) -> None:
    store.schedule("a")
    [held] = store.pick()
    assert store.complete(succeeded(held)) == [Receipt.CHANGED]
    assert store.rows() == []


def test_success_moves_a_recurring_execution_on_and_resets_its_counts(store: Store) -> None:
    store.sql(
        "insert into scheduled_tasks (task_name, task_instance, consecutive_failures, crashes, last_failure)"
        " values ('t', 'a', 3, 2, '2020-01-01Z')"
    )
    [held] = store.pick()
    assert store.complete(next_run(held, FUTURE)) == [Receipt.CHANGED]
    [row] = store.rows()
    assert (row["picked"], row["picked_by"], row["last_heartbeat"]) == (False, None, None)
    assert (row["consecutive_failures"], row["crashes"], row["version"]) == (0, 0, 3)
    assert row["execution_time"] == FUTURE
    assert row["last_success"] is not None
    assert row["last_failure"].year == 2020


def test_failure_counts_one_more_and_keeps_the_last_success(store: Store) -> None:
    store.sql(
        "insert into scheduled_tasks (task_name, task_instance, consecutive_failures, crashes, last_success)"
        " values ('t', 'a', 3, 2, '2020-01-01Z')"
    )
    [held] = store.pick()
    store.complete(next_run(held, timedelta(minutes=5), has_succeeded=False))
    [row] = store.rows()
    assert (row["consecutive_failures"], row["crashes"]) == (4, 0)
    assert row["last_success"].year == 2020
    assert abs(row["execution_time"] - row["last_failure"] - timedelta(minutes=5)) < timedelta(
        seconds=1
    )


def test_exhausted_retries_move_an_execution_with_all_it_was(store: Store) -> None:
    store.sql(
        "insert into scheduled_tasks (task_name, task_instance, task_data, priority, consecutive_failures, crashes)"
        " values ('t', 'a', '[1]', 7, 2, 1)"
    )
    store.complete(exhausted(*store.pick()))
    assert store.rows() == []
    [row] = store.failed_rows()
    assert (row["task_data"], row["priority"], row["error"], row["traceback"]) == (
        [1],
        7,
        "ValueError: no",
        "Traceback …",
    )
    assert (row["consecutive_failures"], row["attempts"], row["crashes"]) == (3, 4, 1)
    assert row["failed_at"] is not None


def test_a_released_execution_is_as_if_it_had_not_been_picked(store: Store) -> None:
    store.schedule("a")
    [before] = store.rows()
    store.complete(released(*store.pick()))
    [after] = store.rows()
    assert after.pop("version") == before.pop("version") + 2
    assert after == before


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_completion_with_an_old_version_changes_nothing(
    store: Store, ending: Callable[[Held], Completion]
) -> None:
    """Fails for each statement when `version = held.version` is taken out of it."""
    store.schedule("a")
    [held] = store.pick()
    store.release_of("p")
    store.pick()
    before = store.rows()
    assert store.complete(ending(held)) == [Receipt.STALE]
    assert (store.rows(), store.failed_rows()) == (before, [])


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_completion_of_another_poller_changes_nothing(
    store: Store, ending: Callable[[Held], Completion]
) -> None:
    """The version alone is not unique: it starts at 1 again when an instance is deleted and scheduled anew.

    Fails for each statement when `picked_by = …` is taken out of it.
    """
    store.schedule("a")
    [held] = store.pick("first")
    store.complete(succeeded(held), poller="first")
    store.schedule("a")
    [again] = store.pick("second")
    assert again.version == held.version
    before = store.rows()
    assert store.complete(ending(held), poller="first") == [Receipt.STALE]
    assert (store.rows(), store.failed_rows()) == (before, [])


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_completion_of_what_is_no_longer_picked_changes_nothing(
    store: Store, ending: Callable[[Held], Completion]
) -> None:
    store.schedule("a")
    [held] = store.pick()
    store.sql("update scheduled_tasks set picked = false")
    assert store.complete(ending(held)) == [Receipt.STALE]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_completion_of_what_has_vanished_says_so(
    store: Store, ending: Callable[[Held], Completion]
) -> None:
    store.schedule("a")
    [held] = store.pick()
    store.sql("delete from scheduled_tasks")
    assert store.complete(ending(held)) == [Receipt.VANISHED]
    assert store.rows() == []


def test_a_batch_of_all_kinds_has_a_receipt_for_each_in_order(store: Store) -> None:
    store.schedule("a", "b", "c", "d", "e", "f")
    held = sorted(store.pick(), key=lambda each: each.task_instance)
    store.sql("update scheduled_tasks set version = 9 where task_instance = 'c'")
    store.sql("delete from scheduled_tasks where task_instance = 'e'")
    batch = [make(each) for make, each in zip((*ENDINGS, *ENDINGS), held, strict=False)]
    changed, stale, vanished = Receipt.CHANGED, Receipt.STALE, Receipt.VANISHED
    assert store.complete(*batch) == [changed, changed, stale, changed, vanished, changed]


def test_a_superseded_run_is_told_apart_from_the_one_beside_it(store: Store) -> None:
    """A poller that was thought dead may pick the same instance again, and both runs may end in one moment."""
    store.schedule("a")
    [old] = store.pick()
    store.recover_of("p")
    [new] = store.pick()
    batch = Reschedule(old, HOUR, True, (NewExecution("t", "child"),)), next_run(new)
    assert store.complete(*batch) == [Receipt.STALE, Receipt.CHANGED]
    assert [row["task_instance"] for row in store.rows()] == ["a"]


def test_what_a_run_asked_for_is_written_with_its_completion(store: Store) -> None:
    store.schedule("a")
    [held] = store.pick()
    completion = succeeded(held, NewExecution("t", "child", '{"n": 1}', FUTURE, 3))
    assert not is_plain(completion)
    store.complete(completion)
    [row] = store.rows()
    assert (row["task_instance"], row["task_data"], row["priority"]) == ("child", {"n": 1}, 3)


def test_a_superseded_run_asks_for_nothing(store: Store) -> None:
    store.schedule("a")
    [held] = store.pick()
    store.release_of("p")
    store.complete(succeeded(held, NewExecution("t", "child")))
    assert [row["task_instance"] for row in store.rows()] == ["a"]


def test_an_instance_that_is_there_already_does_not_stop_a_completion(store: Store) -> None:
    store.schedule("a", "child")
    held = next(each for each in store.pick() if each.task_instance == "a")
    assert store.complete(succeeded(held, NewExecution("t", "child"))) == [Receipt.CHANGED]
    assert [row["task_instance"] for row in store.rows()] == ["child"]


def test_completing_twice_after_a_lost_answer_is_harmless(store: Store) -> None:
    store.schedule("a", "b")
    deleted, moved = sorted(store.pick(), key=lambda each: each.task_instance)
    batch: list[Completion] = [succeeded(deleted), next_run(moved, HOUR)]
    assert store.complete(*batch) == [Receipt.CHANGED, Receipt.CHANGED]
    before = store.rows()
    assert store.complete(*batch) == [Receipt.VANISHED, Receipt.STALE]
    assert store.rows() == before


PLAIN: list[Ending] = [succeeded, next_run]


@pytest.mark.parametrize("ending", PLAIN)
def test_in_place_writes_what_by_key_writes(store: Store, ending: Ending) -> None:
    store.schedule("a", "b")
    by_key, in_place = sorted(store.pick(), key=lambda each: each.task_instance)
    store.complete(ending(by_key))
    assert store.complete_in_place(ending(in_place)) == [True]
    rows = [
        {name: row[name] for name in row if name not in {"task_instance", "seq"}}
        for row in store.rows()
    ]
    times = ("execution_time", "last_success", "last_failure")
    assert all(abs(a[t] - b[t]) < HOUR / 60 for a, b in pairwise(rows) for t in times if a[t])
    untimed = [{name: row[name] for name in row if name not in times} for row in rows]
    assert all(a == b for a, b in pairwise(untimed))


@pytest.mark.parametrize("ending", PLAIN)
def test_in_place_misses_what_a_heartbeat_has_moved_and_by_key_finds_it(
    store: Store, ending: Ending
) -> None:
    store.schedule("a")
    [held] = store.pick()
    assert store.beat("p") == 1
    assert store.complete_in_place(ending(held)) == [False]
    assert store.complete(ending(held)) == [Receipt.CHANGED]


@pytest.mark.parametrize("ending", PLAIN)
def test_in_place_never_completes_for_a_superseded_run(store: Store, ending: Ending) -> None:
    store.schedule("a")
    [held] = store.pick()
    store.release_of("p")
    [again] = store.pick()
    assert again.version == held.version + 2
    assert store.complete_in_place(ending(held)) == [False]
    assert store.complete_in_place(ending(again)) == [True]


@pytest.mark.parametrize("ending", PLAIN)
def test_in_place_is_not_fooled_by_a_place_that_is_used_again(store: Store, ending: Ending) -> None:
    """Another row, of the same version and the same poller, lies where the run's row lay before a vacuum."""
    store.schedule("a")
    [held] = store.pick()
    store.sql("delete from scheduled_tasks")
    store.sql("vacuum scheduled_tasks")
    others = []
    for n in range(50):
        store.schedule(f"b{n}")
        others += store.pick()
    [twin] = [other for other in others if other.place == held.place]
    assert twin.version == held.version
    assert store.complete_in_place(ending(held)) == [False]
    assert len(store.rows()) == len(others)


def test_in_place_each_completion_of_a_batch_is_answered_for(store: Store) -> None:
    store.schedule("a", "b", "c", "d")
    held = sorted(store.pick(), key=lambda each: each.task_instance)
    store.sql("update scheduled_tasks set version = 9 where task_instance in ('b', 'c')")
    batch = [make(each) for make, each in zip((*PLAIN, *PLAIN), held, strict=True)]
    assert store.complete_in_place(*batch) == [True, False, False, True]
