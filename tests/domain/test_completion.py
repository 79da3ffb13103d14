"""What is written for an outcome: every one has its completion, whatever the user's code does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched import Every, Failure, GiveUp, MaxRetries, NewExecution, RetryAt, RetryIn
from pgsched.domain.completion import (
    DEFAULT_RETRY,
    Decided,
    Delete,
    MoveToFailed,
    Release,
    Reschedule,
    decide,
)
from pgsched.domain.execution import Held
from pgsched.domain.outcome import (
    Failed,
    Finished,
    Interrupted,
    Outcome,
    Succeeded,
    error_line,
)
from pgsched.domain.task import AnyTask, Task
from pgsched.domain.text import storable

NOW = datetime(2027, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
FAILED = Failed(ValueError("no"), "Traceback …", "ValueError: no")


def held(failures: int = 0) -> Held:
    return Held("t", "a", None, NOW, 7, None, failures, 0, None, None)


def task(**options: Any) -> AnyTask:
    return Task(name="t", function=lambda: None, **options)


def decided(outcome: Outcome, of: AnyTask, *, failures: int = 0, followups: Any = ()) -> Decided:
    return decide(
        Finished(held(failures), outcome, 0.0, 0.0, followups),
        of,
        now=lambda: NOW,
        chance=lambda: 0.5,
    )


def completion(outcome: Outcome, of: AnyTask, **rest: Any) -> Any:
    return decided(outcome, of, **rest).completion


ONCE, HOURLY = task(), task(schedule=Every(hours=1))


def test_a_one_time_success_is_deleted_and_a_recurring_one_moves_on() -> None:
    assert completion(Succeeded(), ONCE) == Delete(held())
    assert completion(Succeeded(), HOURLY) == Reschedule(held(), NOW + HOUR, has_succeeded=True)


def test_an_interruption_is_a_release_and_no_failure() -> None:
    assert completion(Interrupted(), ONCE) == completion(Interrupted(), HOURLY) == Release(held())


def test_what_a_success_asked_for_goes_with_it() -> None:
    wanted = (NewExecution("t", "b"),)
    assert completion(Succeeded(), ONCE, followups=wanted).followups == wanted
    assert completion(Succeeded(), HOURLY, followups=wanted).followups == wanted


def test_without_a_handler_a_one_time_task_waits_five_minutes_and_a_recurring_one_for_its_schedule() -> (
    None
):
    assert completion(FAILED, ONCE) == Reschedule(held(), timedelta(minutes=5), has_succeeded=False)
    assert completion(FAILED, HOURLY) == Reschedule(held(), NOW + HOUR, has_succeeded=False)


def test_exhausted_retries_bury_a_one_time_task_and_leave_a_recurring_one_its_schedule() -> None:
    handler = MaxRetries(1)
    once, hourly = task(on_failure=handler), task(on_failure=handler, schedule=Every(hours=1))
    assert completion(FAILED, once, failures=0).when == timedelta(0)
    assert completion(FAILED, once, failures=1) == MoveToFailed(
        held(1), "ValueError: no", "Traceback …"
    )
    assert completion(FAILED, hourly, failures=1) == Reschedule(
        held(1), NOW + HOUR, has_succeeded=False
    )


def test_a_handler_sees_the_failure_that_it_decides_on() -> None:
    seen: list[Failure] = []

    def handler(failure: Failure) -> RetryAt:
        seen.append(failure)
        return RetryAt(NOW + HOUR)

    assert completion(FAILED, task(on_failure=handler), failures=2).when == NOW + HOUR
    assert seen == [Failure(FAILED.error, 3, NOW, NOW, 0.5)]


def test_a_retry_in_the_past_is_at_once() -> None:
    assert completion(FAILED, task(on_failure=lambda _: RetryIn(-HOUR))).when == timedelta(0)


class OwnTime(datetime):
    def isoformat(self, *_: object) -> str:
        raise LookupError("broken")


class OwnDelay(timedelta): ...


@pytest.mark.parametrize(
    "decision",
    [RetryAt(OwnTime(2100, 1, 1, tzinfo=UTC)), RetryIn(OwnDelay(hours=1))],
)
def test_nothing_of_the_users_own_classes_goes_on(decision: RetryAt | RetryIn) -> None:
    """What such a time does when it is written, or sent to another process, its poller's loop would suffer."""
    when = completion(FAILED, task(on_failure=lambda _: decision)).when
    assert type(when) in {datetime, timedelta}
    assert when in {datetime(2100, 1, 1, tzinfo=UTC), HOUR}


def raising(_: Failure) -> RetryIn:
    raise LookupError("broken")


@pytest.mark.parametrize(
    "handler",
    [
        raising,
        lambda _: None,
        lambda _: 5,
        lambda _: RetryIn(5),  # type: ignore[arg-type]  # to be refused
        lambda _: RetryIn(timedelta.max),
        lambda _: RetryAt(datetime(2027, 1, 1)),
        lambda _: GiveUp,
    ],
)
def test_a_handler_that_raises_or_answers_junk_counts_as_none_and_is_told(handler: Any) -> None:
    answer = decided(FAILED, task(on_failure=handler))
    assert answer.completion == Reschedule(held(), DEFAULT_RETRY.delay, has_succeeded=False)
    assert answer.broken is not None


class BrokenSchedule:
    def __init__(self, answer: object) -> None:
        self._answer = answer

    def next_time(self, after: datetime, /) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize("answer", [LookupError("no more"), None, 5, datetime(2027, 1, 1)])
@pytest.mark.parametrize("outcome", [Succeeded(), FAILED])
def test_a_broken_schedule_delays_its_task_and_is_told(answer: object, outcome: Outcome) -> None:
    result = decided(outcome, task(schedule=BrokenSchedule(answer)))
    assert isinstance(result.completion, Reschedule)
    assert result.completion.when == DEFAULT_RETRY.delay
    assert result.broken is not None


class Nasty(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


def test_an_error_is_one_bounded_line_whatever_it_is() -> None:
    assert error_line(ValueError("two\nlines \t of it")) == "ValueError: two lines of it"
    assert error_line(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert error_line(Nasty()) == "Nasty: (its message can't be shown)"
    assert len(error_line(ValueError("x" * 100_000))) == 2_000


@given(st.text(alphabet=st.characters(codec=None)))
def test_stored_text_is_what_postgres_takes(text: str) -> None:
    stored = storable(text)
    assert "\0" not in stored
    stored.encode("utf-8")
