"""What is written for an outcome: the state machine of a running execution, on one screen.

A run ends in one of six ways, each a value; `decide` chooses. It never writes anything, and is told how to
ask for the time and for chance: the store carries completions out, fenced. There is no other way out of `running` but
a recovery.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, assert_never

from pgsched.domain.failure import Failure, GiveUp, RetryAt, RetryIn
from pgsched.domain.outcome import (
    Committed,
    Crashed,
    Failed,
    Finished,
    Interrupted,
    Succeeded,
)
from pgsched.domain.request import LONGEST_WAIT, checked_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgsched.domain.execution import Held, NewExecution
    from pgsched.domain.failure import FailureDecision
    from pgsched.domain.task import AnyTask

DEFAULT_RETRY = RetryIn(timedelta(minutes=5))
"""Without a failure handler (db-scheduler's default), and where a schedule is broken."""


class Delete(NamedTuple):
    """A one-time execution that succeeded."""

    execution: Held
    followups: tuple[NewExecution, ...] = ()


class Reschedule(NamedTuple):
    """Due again: at an instant, or so long from now by the database's clock."""

    execution: Held
    when: datetime | timedelta
    has_succeeded: bool
    followups: tuple[NewExecution, ...] = ()


class MoveToFailed(NamedTuple):
    """Retries exhausted: into the side table, with what it failed of."""

    execution: Held
    error: str
    traceback: str


class Written(NamedTuple):
    """Nothing: the run has written its completion itself."""

    execution: Held


class Crash(NamedTuple):
    """It killed the process that ran it alone: a crash more, and due again or buried."""

    execution: Held
    cause: str


class Release(NamedTuple):
    """Handed back as if it had not been picked: due at once, no retry used."""

    execution: Held


Completion: TypeAlias = Delete | Reschedule | MoveToFailed | Written | Crash | Release


class Decided(NamedTuple):
    """A completion, and what broke in the user's failure handler or schedule on the way to it, if anything."""

    completion: Completion
    broken: BaseException | None = None


def decide(
    finished: Finished, task: AnyTask, *, now: Callable[[], datetime], chance: Callable[[], float]
) -> Decided:
    """What to write for a run of `task` that ended just now. Never raises, whatever the user's code does."""
    execution = finished.execution
    match finished.outcome:
        case Succeeded():  # the first: most runs do, and each case is a question
            if task.schedule is None:
                return Decided(Delete(execution, finished.followups))
            when, broken = _next_time(task, now())
            return Decided(
                Reschedule(execution, when, has_succeeded=True, followups=finished.followups),
                broken,
            )
        case Interrupted():
            return Decided(Release(execution))
        case Committed():
            return Decided(Written(execution))
        case Crashed(cause=cause):
            return Decided(Crash(execution, cause))
        case Failed() as failed:
            return _decide_failed(execution, failed, task, now=now, chance=chance)
        case _:
            assert_never(finished.outcome)


def _decide_failed(
    execution: Held,
    failed: Failed,
    task: AnyTask,
    *,
    now: Callable[[], datetime],
    chance: Callable[[], float],
) -> Decided:
    ended_at = now()
    failure = Failure(
        error=failed.error,
        consecutive_failures=execution.consecutive_failures + 1,
        execution_time=execution.execution_time,
        now=ended_at,
        chance=chance(),
    )
    decision, broken = _consult(task, failure)
    match decision:
        case RetryIn(delay=delay):
            return Decided(Reschedule(execution, delay, has_succeeded=False), broken)
        case RetryAt(at=at):
            return Decided(Reschedule(execution, at, has_succeeded=False), broken)
        case GiveUp() if task.schedule is None:
            return Decided(MoveToFailed(execution, failed.line, failed.traceback), broken)
        case GiveUp():
            when, broken_schedule = _next_time(task, ended_at)
            return Decided(
                Reschedule(execution, when, has_succeeded=False), broken or broken_schedule
            )
        case _:
            assert_never(decision)


def _consult(task: AnyTask, failure: Failure) -> tuple[FailureDecision, BaseException | None]:
    """The handler's decision. One that raises, or answers something else, counts as no handler (spec §4)."""
    default: FailureDecision = DEFAULT_RETRY if task.schedule is None else GiveUp()
    if task.on_failure is None:
        return default, None
    try:
        return _checked(task.on_failure(failure)), None
    except BaseException as broken:  # noqa: BLE001 the user's code: sys.exit() in it must not end a thread of ours
        return default, broken


def _checked(decision: object) -> FailureDecision:
    match decision:
        case GiveUp():
            return decision
        case RetryIn(delay=timedelta() as delay) if delay <= LONGEST_WAIT:
            plain = timedelta(delay.days, delay.seconds, delay.microseconds)
            return RetryIn(max(plain, timedelta(0)))
        case RetryAt(at=at):
            return RetryAt(_instant("a failure handler", at))
        case _:
            raise TypeError(
                f"a failure handler answered {decision!r:.120}; "
                "allowed: RetryIn(timedelta of at most 1,000 years), RetryAt(datetime), GiveUp()"
            )


def _next_time(task: AnyTask, now: datetime) -> tuple[datetime | timedelta, BaseException | None]:
    """The schedule's next time. A broken schedule must neither stop its task for ever nor spin."""
    assert task.schedule is not None
    try:
        return _instant("a schedule", task.schedule.next_time(now)), None
    except BaseException as broken:  # noqa: BLE001 the user's code: sys.exit() in it must not end a thread of ours
        return DEFAULT_RETRY.delay, broken


def _instant(who: str, at: object) -> datetime:
    """In UTC. Raises: TypeError, InvalidData."""
    instant = checked_time(at) if isinstance(at, datetime) else None
    if instant is None:
        raise TypeError(f"{who} answered {at!r:.120}; allowed: a datetime with a zone")
    return instant
