"""One run of one execution in the thread that asks for it, and what a run leaves."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from typing import TYPE_CHECKING, NamedTuple

from pgsched.domain.outcome import SUCCEEDED, Committed, Failed, Finished, Told, error_line
from pgsched.domain.task import caller_of
from pgsched.domain.text import storable
from pgsched.log import bind_run
from pgsched.tracing import run_span
from pgsched.worker.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgsched.domain.completion import Decided
    from pgsched.domain.context import ExecutionContext
    from pgsched.domain.execution import Held
    from pgsched.domain.mask import Mask
    from pgsched.domain.outcome import Outcome
    from pgsched.domain.task import AnyTask, Caller
    from pgsched.tracing import RunTracing

TRACEBACK_LIMIT = 16_000
"""Characters kept of a traceback: its end, where the error is."""


class Run(NamedTuple):
    """A run that ended, and what is to be written for it."""

    finished: Finished
    decided: Decided


class Runnable(NamedTuple):
    """A task and how it is called, worked out once."""

    task: AnyTask
    call: Caller
    is_on_loop: bool
    is_isolated: bool


def runnables_of(tasks: Mapping[str, AnyTask], tracing: RunTracing | None) -> dict[str, Runnable]:
    """Where nobody traces, no run pays for it."""
    return {
        name: Runnable(
            task,
            tracing.traced(task) if tracing else caller_of(task),
            task.is_async and not task.needs_process,
            task.needs_process,
        )
        for name, task in tasks.items()
    }


def run_here(
    runnable: Runnable, execution: Held, context: ExecutionContext, mask: Mask
) -> Finished:
    """Call the task's function, and see an async one to its end. Never raises, whatever the user's code does."""
    started_at = monotonic()
    bind_run(execution)
    outcome: Outcome
    try:
        answer = runnable.call(execution.task_data, context)
        if inspect.iscoroutine(answer):
            asyncio.run(answer)
        outcome = SUCCEEDED
    except BaseException as error:  # noqa: BLE001 the user's function: SystemExit is a failure too
        outcome = failed_of(error, mask)
    return finished_of(context, outcome, started_at)


def finished_of(context: ExecutionContext, outcome: Outcome, started_at: float) -> Finished:
    """A run that ended now. One that has completed its execution itself has nothing left to be written."""
    if context.is_complete:
        outcome = Committed(Told(outcome.line) if isinstance(outcome, Failed) else None)
    duration_s = monotonic() - started_at
    followups = tuple(context.followups)
    return Finished(context.execution, outcome, started_at, duration_s, followups, run_span())


def failed_of(error: BaseException, mask: Mask) -> Failed:
    return Failed(error, _bounded_traceback(error, mask), error_line(error, mask))


def overran(task: AnyTask) -> Failed:
    """A run that had to be ended because its time was over."""
    error = TimeoutError(told_late(task))
    return Failed(error, "", error_line(error))


def told_late(task: AnyTask) -> str:
    return f"it ran longer than its timeout of {task.timeout}"


def _bounded_traceback(error: BaseException, mask: Mask) -> str:
    """The traceback as text from the user's function on: our own frames help nobody."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("pgsched."):
        trace = trace.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, trace or error.__traceback__))
    except BaseException:  # noqa: BLE001 the user's __str__
        text = f"{type(error).__qualname__} (its traceback can't be shown)"
    return storable(mask.end(text, TRACEBACK_LIMIT))
