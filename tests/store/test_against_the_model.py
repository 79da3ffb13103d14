"""The real store and the model of tests/model.py, side by side, through any sequence of moves that hypothesis finds."""

from __future__ import annotations

import re
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pgsched.errors import ExecutionExists, ExecutionNotFound, ExecutionRunning
from tests.model import MOVES, Claim, Model
from tests.postgres import new_database
from tests.store.acting import FUTURE, HOUR, PAST, Store, exhausted, next_run, released, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgsched.domain.completion import Completion
    from pgsched.domain.execution import Held

MAX_CRASHES = 3
INSTANCES = ("a", "b", "c")
POLLERS = ("p", "q")

ENDINGS: dict[str, Callable[[Held], Completion]] = {
    "succeeded, one-time": succeeded,
    "succeeded, recurring": lambda held: next_run(held, FUTURE),
    "failed, handler retries": lambda held: next_run(held, HOUR, has_succeeded=False),
    "failed, exhausted, one-time": exhausted,
    "released": released,
}

instances = st.sampled_from(INSTANCES)
pollers = st.sampled_from(POLLERS)


def outcome_of(act: Callable[[], object]) -> str:
    """What a client's call comes to, in the model's words."""
    try:
        act()
    except ExecutionNotFound:
        return "not found"
    except ExecutionRunning:
        return "running"
    except ExecutionExists:
        return "exists"
    return "done"


class Comparison(RuleBasedStateMachine):
    """Each rule makes one move in both; the invariant compares the whole table after each."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(max_crashes=MAX_CRASHES)
        self.held: dict[Claim, Held] = {}
        self.versions: dict[str, int] = {}

    @initialize()
    def start_empty(self) -> None:
        self.store.sql("truncate scheduled_tasks, scheduled_tasks_failed")

    @rule(instance=instances, data=st.integers(0, 9), is_due=st.booleans())
    def schedule(self, instance: str, data: int, is_due: bool) -> None:
        added = self.store.schedule(instance, data=str(data), at=PAST if is_due else FUTURE)
        assert (added == 1) == self.model.schedule(instance, data, is_due=is_due)

    @rule(instance=instances, is_due=st.booleans())
    def reschedule(self, instance: str, is_due: bool) -> None:
        done = outcome_of(lambda: self.store.reschedule(instance, PAST if is_due else FUTURE))
        assert done == self.model.reschedule(instance, is_due=is_due)

    @rule(instance=instances)
    def cancel(self, instance: str) -> None:
        assert outcome_of(lambda: self.store.cancel(instance)) == self.model.cancel(instance)

    @rule(instance=instances)
    def retry(self, instance: str) -> None:
        assert outcome_of(lambda: self.store.retry(instance)) == self.model.retry(instance)

    @rule(instance=instances)
    def discard(self, instance: str) -> None:
        assert outcome_of(lambda: self.store.discard(instance)) == self.model.discard(instance)

    @rule(poller=pollers)
    def pick(self, poller: str) -> None:
        picked = {
            Claim(held.task_instance, held.version, poller): held
            for held in self.store.pick(poller)
        }
        assert picked.keys() == self.model.pick(poller)
        self.held |= picked

    @rule(data=st.data(), ending=st.sampled_from(list(ENDINGS)))
    def complete(self, data: st.DataObject, ending: str) -> None:
        """Anything ever held, so that most are stale by now: whatever was decided, the fence decides again."""
        if not self.held:
            return
        claim = data.draw(st.sampled_from(sorted(self.held)))
        [receipt] = self.store.complete(ENDINGS[ending](self.held[claim]), poller=claim.poller)
        assert receipt == self.model.complete(claim, ending)

    @rule(ending=st.sampled_from(list(ENDINGS)), is_released=st.booleans())
    def complete_what_was_picked_again(self, ending: str, is_released: bool) -> None:
        """The zombie's move: its own poller has picked the instance anew, and it completes its earlier pick."""
        for claim, held in list(self.held.items()):
            row = self.model.rows.get(claim.instance)
            if row is None or row.poller != claim.poller or row.version != claim.version:
                continue
            if is_released:
                self.release_of(claim.poller)
            else:
                self.recover_of(claim.poller, {claim.instance})
            self.pick(claim.poller)
            [receipt] = self.store.complete(ENDINGS[ending](held), poller=claim.poller)
            assert receipt == self.model.complete(claim, ending)
            return

    @rule(poller=pollers)
    def beat(self, poller: str) -> None:
        assert self.store.beat(poller) == self.model.beat(poller)

    @rule(poller=pollers)
    def go_silent(self, poller: str) -> None:
        self.store.sql(
            "update scheduled_tasks set last_heartbeat = last_heartbeat - %s where picked_by = %s",
            HOUR + timedelta(minutes=1),
            poller,
        )
        self.model.go_silent(poller)

    @rule()
    def recover_dead(self) -> None:
        recovered = {
            each.task_instance for each in self.store.recover_dead(max_crashes=MAX_CRASHES)
        }
        assert recovered == self.model.recover_dead()

    @rule(poller=pollers, started=st.sets(instances))
    def recover_of(self, poller: str, started: set[str]) -> None:
        rows = self.store.rows()
        running = [
            row["seq"] for row in rows if row["task_instance"] in started & self.held_by(poller)
        ]
        recovered = {
            each.task_instance
            for each in self.store.recover_of(poller, started=running, max_crashes=MAX_CRASHES)
        }
        assert recovered == self.model.recover_of(poller, started)

    def held_by(self, poller: str) -> set[str]:
        return {instance for instance, row in self.model.rows.items() if row.poller == poller}

    @rule(poller=pollers)
    def release_of(self, poller: str) -> None:
        assert self.store.release_of(poller).executions == self.model.release_of(poller)

    @invariant()
    def the_table_is_what_the_model_says(self) -> None:
        seen = {
            row["task_instance"]: (
                row["is_due"],
                row["task_data"],
                row["version"],
                row["picked_by"] if row["picked"] else None,
                row["consecutive_failures"],
                row["crashes"],
                row["suspicions"],
            )
            for row in self.store.sql(
                "select *, execution_time <= now() as is_due from scheduled_tasks"
            )
        }
        expected = {
            instance: (
                row.is_due,
                row.data,
                row.version,
                row.poller,
                row.failures,
                row.crashes,
                row.suspicions,
            )
            for instance, row in self.model.rows.items()
        }
        assert seen == expected
        failed = [(row["task_instance"], row["task_data"]) for row in self.store.failed_rows()]
        assert sorted(failed) == sorted(self.model.failed)

    @invariant()
    def what_is_not_picked_has_no_holder_and_no_heartbeat(self) -> None:
        for row in self.store.rows():
            assert (
                row["picked"]
                == (row["picked_by"] is not None)
                == (row["last_heartbeat"] is not None)
            )


def test_the_store_does_what_the_model_does(server: str, template: str) -> None:
    with ExitStack() as stack:
        conninfo = stack.enter_context(new_database(server, template=template))
        Comparison.store = stack.enter_context(Store(conninfo))
        run_state_machine_as_test(
            Comparison,
            settings=settings(
                max_examples=60,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


@pytest.mark.parametrize("page", ["docs/architecture.md"])
def test_the_page_that_explains_the_moves_has_the_same_ones(page: str) -> None:
    text = Path(__file__).parents[2].joinpath(page).read_text(encoding="utf-8")
    section = text.partition("## Its life: the moves")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| .+? \|$", section, re.MULTILINE)
    assert [tuple(move) for move in MOVES] == rows[1:]
