"""Declaring tasks, and calling them with what they take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pgsched import Every, ExecutionContext, InvalidData, one_time, recurring
from pgsched.domain.context import Surroundings
from pgsched.domain.execution import Held
from pgsched.domain.task import Task, caller_of

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTyping

NOW = datetime(2027, 1, 1, tzinfo=UTC)


@dataclass
class Parcel:
    weight: int


def no_transaction(_context: ExecutionContext, _connection: object) -> Any:
    raise NotImplementedError


def context() -> ExecutionContext:
    held = Held("t", "a", None, NOW, 7, None, 2, 1, None, NOW)
    return ExecutionContext(
        held,
        Surroundings(
            now=lambda: NOW,
            is_shutting_down=lambda: False,
            is_out_of_touch=lambda: True,
            log=lambda held: held.task_name,
            trace_context=lambda: "a trace",
            transaction=no_transaction,
        ),
    )


def called(function: Any, text: str | None = None) -> Any:
    return caller_of(Task(name="t", function=function))(text, context())


def test_a_declared_task_is_still_a_function() -> None:
    @one_time("double")
    def double(data: int) -> int:
        return 2 * data

    assert double(4) == 8
    assert (double.name, double.schedule, double.is_async) == ("double", None, False)


def test_a_task_takes_nothing_or_data_or_data_and_context() -> None:
    assert called(lambda: "nothing") == "nothing"
    assert called(lambda data: data, "[1]") == [1]
    data, given = called(lambda data, context: (data, context), '{"a": 1}')
    assert data == {"a": 1}
    assert isinstance(given, ExecutionContext)


def test_no_data_is_none() -> None:
    assert called(lambda data: data) is None


def test_a_single_argument_annotated_as_context_is_the_context() -> None:
    def alone(context: ExecutionContext) -> ExecutionContext:
        return context

    assert isinstance(called(alone), ExecutionContext)


def test_defaults_are_left_to_the_function() -> None:
    def function(data: Any, context: Any, retries: int = 3) -> int:
        return retries

    assert called(function, "1") == 3


def test_data_is_made_into_what_it_is_annotated_with() -> None:
    def function(data: Parcel) -> int:
        return data.weight

    assert called(function, '{"weight": 3}') == 3
    with pytest.raises(InvalidData, match="weight"):
        called(function, "{}")


def test_an_annotation_that_can_not_be_resolved_is_named() -> None:
    def function(data: OnlyForTyping) -> None: ...

    with pytest.raises(TypeError, match="'OnlyForTyping' of 'data' can't be resolved"):
        called(function)


def test_the_contexts_annotation_may_stay_unresolved() -> None:
    def function(data: Any, context: OnlyForTyping) -> str:
        return "called"

    assert called(function) == "called"


def three(data: Any, context: Any, third: Any) -> None: ...


def by_keyword(data: Any, *, context: Any) -> None: ...


@pytest.mark.parametrize("function", [three, by_keyword])
def test_a_function_that_asks_for_more_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="allowed: nothing, data, or data and context"):
        one_time("t")(function)


def generator() -> Any:
    yield 1


async def async_generator() -> Any:
    yield 1


@pytest.mark.parametrize("function", [generator, async_generator, Parcel, 5])
def test_what_would_never_run_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match=r"generator|not a function"):
        one_time("t")(function)


@pytest.mark.parametrize(
    "options",
    [
        {"on_failure": 5},
        {"timeout": timedelta(0)},
        {"timeout": 5},
        {"isolation": "vm"},
    ],
)
def test_options_that_can_not_be_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        one_time("t", **options)(lambda: None)


def test_a_schedule_needs_a_next_time() -> None:
    with pytest.raises(TypeError, match="no schedule"):
        recurring("t", schedule="hourly")(lambda: None)  # type: ignore[arg-type]  # to be refused


def test_async_functions_and_objects_are_known_as_such() -> None:
    class Callable:
        async def __call__(self) -> None: ...

    async def function() -> None: ...

    assert recurring("t", schedule=Every(hours=1))(function).is_async
    assert one_time("t")(Callable()).is_async
    assert not one_time("t")(lambda: None).is_async


def test_a_context_says_what_is_running() -> None:
    running = context()
    assert (running.task_name, running.task_instance, running.execution_time) == ("t", "a", NOW)
    assert (running.attempt, running.consecutive_failures, running.crashes) == (3, 2, 1)
    assert (running.last_success, running.last_failure, running.fencing_token) == (None, NOW, 7)
    assert not running.is_shutting_down
    assert running.log == "t"


def test_a_context_gathers_what_is_to_be_scheduled_and_refuses_what_can_not_be() -> None:
    running = context()
    running.schedule("t", "b", {"n": 1}, in_=timedelta(hours=1), priority=3)
    with pytest.raises(InvalidData):
        running.schedule("t", "c", float("nan"))
    with pytest.raises(InvalidData):
        running.schedule("t", "c", at=NOW, in_=timedelta(hours=1))
    [wanted] = running.followups
    assert wanted == ("t", "b", '{"n":1}', NOW + timedelta(hours=1), 3, "a trace")
