"""Failed executions: put back or thrown away."""

from __future__ import annotations

import pytest

from pgsched.errors import ExecutionExists, ExecutionNotFound
from tests.store.acting import Store, exhausted


def fail(store: Store, instance: str, data: str) -> None:
    store.schedule(instance, data=data)
    store.complete(*map(exhausted, store.pick()))


def test_retry_puts_the_newest_back_due_now_with_all_counts_anew(store: Store) -> None:
    fail(store, "a", "1")
    fail(store, "a", "2")
    store.retry("a")
    [row] = store.rows()
    assert (row["task_data"], row["consecutive_failures"], row["crashes"]) == (2, 0, 0)
    assert row["version"] > store.failed_rows()[0]["version"]
    assert [each["task_data"] for each in store.failed_rows()] == [1]
    assert len(store.pick()) == 1


def test_retry_onto_an_instance_that_is_scheduled_again_changes_nothing(store: Store) -> None:
    fail(store, "a", "1")
    store.schedule("a", data="2")
    before = store.rows()
    with pytest.raises(ExecutionExists):
        store.retry("a")
    assert store.rows() == before
    assert len(store.failed_rows()) == 1


def test_discard_deletes_the_newest(store: Store) -> None:
    fail(store, "a", "1")
    fail(store, "a", "2")
    store.discard("a")
    assert [each["task_data"] for each in store.failed_rows()] == [1]


@pytest.mark.parametrize("act", [Store.retry, Store.discard])
def test_where_nothing_failed_there_is_nothing_to_act_on(store: Store, act: object) -> None:
    assert callable(act)
    store.schedule("a")
    with pytest.raises(ExecutionNotFound, match="no failed execution"):
        act(store, "a")
    assert len(store.rows()) == 1
