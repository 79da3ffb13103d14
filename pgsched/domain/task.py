"""A task: a named function, one-time or recurring. Declaring one registers nothing: the registry finds it by import."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypeVar, get_type_hints

from pgsched.domain.context import ExecutionContext
from pgsched.domain.data import reader_of
from pgsched.domain.request import checked_name

if TYPE_CHECKING:
    from pgsched.domain.failure import FailureHandler
    from pgsched.domain.schedule import Schedule

P = ParamSpec("P")
R = TypeVar("R")

ISOLATIONS = ("thread", "process")
WHEN_OUT_OF_TOUCH = ("continue", "stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Generic[P, R]):
    """A function with its name and its rules. Calling a task calls its function, as in a test.

    `schedule` is None for a one-time task. `timeout` bounds one run: an async task is cancelled; for a sync one that
    does not end its poller is replaced, once the others in it have ended. With `isolation` "process" each run has a
    process of its own, which is killed at the timeout. `on_out_of_touch` "stop" kills a run before anybody else may
    take its execution, where the worker can't reach the database: such a task, sync or async, is isolated in the same
    way, and its `finally` clauses don't run then.
    """

    name: str
    function: Callable[P, R]
    schedule: Schedule | None = None
    on_failure: FailureHandler | None = None
    timeout: timedelta | None = None
    isolation: str = "thread"
    on_out_of_touch: str = "continue"
    is_async: bool = field(default=False, init=False)
    parameters: tuple[inspect.Parameter, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        checked_name("the task name", self.name)
        self._check_options()
        object.__setattr__(self, "is_async", _is_async(self.function))
        object.__setattr__(self, "parameters", _parameters(self.name, self.function))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    @property
    def needs_process(self) -> bool:
        """Whether a run may have to be killed alone: each has a process of its own then."""
        return self.isolation == "process" or self.on_out_of_touch == "stop"

    def _check_options(self) -> None:
        if not callable(self.function) or inspect.isclass(self.function):
            raise TypeError(f"task {self.name!r}: {self.function!r} is not a function")
        if inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function):
            raise TypeError(f"task {self.name!r}: a generator function would never run its body")
        if self.schedule is not None and not callable(getattr(self.schedule, "next_time", None)):
            raise TypeError(
                f"task {self.name!r}: {self.schedule!r} is no schedule; "
                "allowed: Every, Cron, Daily or an object with next_time(after)"
            )
        if self.on_failure is not None and not callable(self.on_failure):
            raise TypeError(
                f"task {self.name!r}: on_failure must be a failure handler, not {self.on_failure!r}"
            )
        if self.timeout is not None and (
            not isinstance(self.timeout, timedelta) or self.timeout <= timedelta(0)
        ):
            raise ValueError(f"task {self.name!r}: timeout must be a positive timedelta")
        if self.isolation not in ISOLATIONS:
            raise ValueError(
                f"task {self.name!r}: isolation must be one of {', '.join(ISOLATIONS)}, not {self.isolation!r}"
            )
        if self.on_out_of_touch not in WHEN_OUT_OF_TOUCH:
            raise ValueError(
                f"task {self.name!r}: on_out_of_touch must be one of {', '.join(WHEN_OUT_OF_TOUCH)}, "
                f"not {self.on_out_of_touch!r}"
            )


def one_time(
    name: str,
    *,
    on_failure: FailureHandler | None = None,
    timeout: timedelta | None = None,
    isolation: str = "thread",
    on_out_of_touch: str = "continue",
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Declare a one-time task: each scheduled instance runs once, and is deleted when it succeeds.

    With `isolation="process"`, and with `on_out_of_touch="stop"`, each run has a process of its own (see `Task`).

    Raises: TypeError, ValueError for options that can't be used.
    """

    def declare(function: Callable[P, R]) -> Task[P, R]:
        return Task(
            name=name,
            function=function,
            on_failure=on_failure,
            timeout=timeout,
            isolation=isolation,
            on_out_of_touch=on_out_of_touch,
        )

    return declare


def recurring(
    name: str,
    *,
    schedule: Schedule,
    on_failure: FailureHandler | None = None,
    timeout: timedelta | None = None,
    isolation: str = "thread",
    on_out_of_touch: str = "continue",
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Declare a recurring task: scheduled by itself (instance `default`) when a worker that knows it starts.

    With `isolation="process"`, and with `on_out_of_touch="stop"`, each run has a process of its own (see `Task`).

    Raises: TypeError, ValueError for options that can't be used.
    """

    def declare(function: Callable[P, R]) -> Task[P, R]:
        return Task(
            name=name,
            function=function,
            schedule=schedule,
            on_failure=on_failure,
            timeout=timeout,
            isolation=isolation,
            on_out_of_touch=on_out_of_touch,
        )

    return declare


AnyTask: TypeAlias = "Task[..., Any]"
Caller = Callable[[str | None, ExecutionContext], Any]
"""Calls a task's function with what it takes: JSON text and context in, its return (or coroutine) out."""


def caller_of(task: AnyTask) -> Caller:
    """Work out once how `task` is called. Raises: TypeError where its data annotation can't be resolved.

    The caller raises InvalidData for data that doesn't fit, before the function is called.
    """
    function = task.function
    match task.parameters:
        case ():
            return lambda _text, _context: function()
        case (only,) if _is_context(only):
            return lambda _text, context: function(context)
        case (data,):
            read = reader_of(_annotation(task, data))
            return lambda text, _context: function(read(text))
        case _:
            data = task.parameters[0]
            read_data = reader_of(_annotation(task, data))
            return lambda text, context: function(read_data(text), context)


def data_annotation(task: AnyTask) -> object | None:
    """What the data is annotated with; None where the task takes none, or says nothing of it. Raises: TypeError."""
    parameters = task.parameters
    if not parameters or (len(parameters) == 1 and _is_context(parameters[0])):
        return None
    if parameters[0].annotation is inspect.Parameter.empty:
        return None
    return _annotation(task, parameters[0])


def _is_async(function: Callable[..., Any]) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004 an object whose __call__ is async
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _parameters(name: str, function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = inspect.signature(function).parameters.values()
    taken = tuple(
        parameter
        for index, parameter in enumerate(given)
        if parameter.kind in positional and (parameter.default is parameter.empty or index < 2)
    )
    unmet = [p.name for p in given if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if len(taken) > 2 or unmet:
        raise TypeError(
            f"task {name!r}: its function takes ({', '.join(p.name for p in given)}); "
            "allowed: nothing, data, or data and context"
        )
    return taken


def _is_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2] == ExecutionContext.__name__
    return annotation is ExecutionContext


def _annotation(task: AnyTask, parameter: inspect.Parameter) -> object:
    """What the data is annotated with; that of the context may stay unresolved (imported for typing only)."""
    if parameter.annotation is parameter.empty:
        return Any
    alone = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    scope = getattr(inspect.unwrap(task.function), "__globals__", {})
    try:
        return get_type_hints(alone, globalns=scope)[parameter.name]
    except Exception as error:
        raise TypeError(
            f"task {task.name!r}: the annotation {parameter.annotation!r} of {parameter.name!r} "
            f"can't be resolved ({error})"
        ) from error
