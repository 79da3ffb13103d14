"""How a whole table of executions and its workers do, and what is wrong, worst first. Pure: `at` is the only clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from pgsched.domain.duration import rough_duration
from pgsched.domain.execution import State
from pgsched.domain.presence import DRAINING
from pgsched.domain.text import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from pgsched.domain.presence import Seen

MOST_COUNTED = 100_000
"""Beyond it nobody counts on: a number is at least this then."""

LATE = timedelta(minutes=1)
"""A live worker that knows a task and has room starts what is due in milliseconds."""

STALLED = timedelta(seconds=15)
"""A poller makes a turn every five seconds, whatever there is to do."""

LONGEST_NAME = 60
MOST_NAMES = 3


class Queue(NamedTuple):
    """How many executions are in each state; a number in `at_least` is bounded, and may be larger."""

    due: int
    scheduled: int
    running: int
    retrying: int
    failed: int
    at_least: tuple[str, ...] = ()
    oldest_due_at: datetime | None = None


class DueTask(NamedTuple):
    """A task with executions due, and since when; whether a live worker knows it."""

    task: str
    since: datetime
    is_known: bool


class FailingTask(NamedTuple):
    """A task with executions that failed and will be tried again."""

    task: str
    executions: int
    most_failures: int
    last_failure: datetime | None


class FailedTask(NamedTuple):
    """A task with failed executions."""

    task: str
    executions: int
    last_failed_at: datetime
    last_error: str


class RecurringTask(NamedTuple):
    """A recurring task of the workers here; without a state it has no execution."""

    task: str
    state: State | None
    execution_time: datetime | None
    last_success: datetime | None
    last_failure: datetime | None
    consecutive_failures: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What `pgsched status` shows, as of `at` by the database's clock."""

    at: datetime
    workers: Sequence[Seen]
    queue: Queue
    due: Sequence[DueTask]
    failing: Sequence[FailingTask]
    failed: Sequence[FailedTask]
    recurring: Sequence[RecurringTask]

    @property
    def alive(self) -> list[Seen]:
        return [seen for seen in self.workers if seen.is_alive]

    @property
    def silent(self) -> list[Seen]:
        """Those not seen lately, the last seen first."""
        silent = (seen for seen in self.workers if not seen.is_alive)
        return sorted(silent, key=lambda seen: seen.seen_at, reverse=True)


class Severity(StrEnum):
    """How bad it is: an error keeps work from being done, a warning somebody should know."""

    ERROR = "error"
    WARNING = "warning"


class Problem(NamedTuple):
    """Something that is wrong."""

    severity: Severity
    kind: str
    message: str


def problems_of(overview: Overview) -> list[Problem]:
    """What is wrong, worst first."""
    found = [
        *_absent(overview),
        *_standing_still(overview),
        *_late(overview),
        *_silent(overview),
        *_unknown(overview),
        *_off_schedule(overview),
        *_failures(overview),
        *_versions(overview),
    ]
    return sorted(found, key=lambda problem: problem.severity is not Severity.ERROR)


def _absent(overview: Overview) -> Iterator[Problem]:
    queue, oldest = overview.queue, overview.queue.oldest_due_at
    if not overview.alive and oldest is not None:
        age = rough_duration(overview.at - oldest)
        yield _error(
            "no-worker",
            f"no worker is alive, but due: {_executions(queue, 'due')}, the oldest for {age}; "
            "start one with `pgsched worker`",
        )
    elif not overview.alive:
        yield _warning("no-worker", "no worker is alive: start one with `pgsched worker`")
    elif all(seen.presence.state == DRAINING for seen in overview.alive):
        yield _warning("all-draining", "all workers are draining: none takes what becomes due")


def _standing_still(overview: Overview) -> Iterator[Problem]:
    for presence, seen_at, _, _ in overview.alive:
        name = _name(presence.worker)
        if presence.pollers == 0 and presence.state != DRAINING:
            yield _error("no-poller", f"worker {name} has no poller: its log says why")
        elif presence.progressed_at and seen_at - presence.progressed_at > STALLED:
            age = rough_duration(overview.at - presence.progressed_at)
            yield _error(
                "poller-stalled",
                f"a poller of worker {name} has stood still for {age}: its log (poller.stalled) names the tasks",
            )


def _late(overview: Overview) -> Iterator[Problem]:
    late = [due for due in overview.due if due.is_known and overview.at - due.since > LATE]
    if not late:
        return
    first = min(late, key=lambda due: due.since)
    slots = sum(seen.presence.slots for seen in overview.alive)
    is_full = sum(seen.presence.busy for seen in overview.alive) >= slots
    why = f"all {slots} slots are busy: add workers" if is_full else "although slots are free"
    age = rough_duration(overview.at - first.since)
    yield _error(
        "backlog",
        f"late: {_executions(overview.queue, 'due')} due, the oldest for {age} (task {_name(first.task)}), {why}",
    )


def _silent(overview: Overview) -> Iterator[Problem]:
    """Those first in whose name there is work: it waits for them, or for others to take it over."""
    holding = [seen for seen in overview.silent if seen.held]
    others = [seen for seen in overview.silent if not seen.held]
    if holding:
        number = sum(seen.held for seen in holding)
        yield _warning(
            "worker-silent-holding",
            f"{_gone(holding, overview.at)}; in their name: {_counted(number, 'execution')}, which live workers that "
            "know the tasks take over after their heartbeat_timeout",
        )
    if others:
        yield _warning(
            "worker-silent", f"{_gone(others, overview.at)}; nothing is left in their name"
        )


def _gone(silent: Sequence[Seen], at: datetime) -> str:
    names = [
        f"{_name(seen.presence.worker)} ({rough_duration(at - seen.seen_at)})" for seen in silent
    ]
    return f"{_counted(len(names), 'worker')} went away without a word, or can't reach the database: {_some(names)}"


def _unknown(overview: Overview) -> Iterator[Problem]:
    names = [
        f"{_name(due.task)} ({rough_duration(overview.at - due.since)})"
        for due in overview.due
        if not due.is_known and overview.at - due.since > LATE
    ]
    if names and overview.alive:
        yield _warning(
            "task-unknown",
            f"no live worker knows {_counted(len(names), 'task')} with executions due: {_some(names)}; "
            "renamed, removed, or are its workers down?",
        )


def _off_schedule(overview: Overview) -> Iterator[Problem]:
    known = {name for seen in overview.alive for name in seen.presence.recurring}
    recurring = [each for each in overview.recurring if each.task in known]
    missing = [_name(each.task) for each in recurring if each.state is None]
    overdue = [
        f"{_name(each.task)} ({rough_duration(overview.at - each.execution_time)})"
        for each in recurring
        if each.state is State.DUE
        and each.execution_time
        and overview.at - each.execution_time > LATE
    ]
    if overdue:
        yield _warning(
            "recurring-overdue",
            f"{_counted(len(overdue), 'recurring task')} overdue: {_some(overdue)}",
        )
    if missing:
        yield _warning(
            "recurring-missing",
            f"{_counted(len(missing), 'recurring task')} without an execution: {_some(missing)}; "
            "`pgsched schedule TASK default` brings one back, and so does the next start of its worker",
        )


def _failures(overview: Overview) -> Iterator[Problem]:
    failing = [f"{_name(each.task)} ({each.executions})" for each in overview.failing]
    failed = [f"{_name(each.task)} ({each.executions})" for each in overview.failed]
    if failing:
        yield _warning("failing", f"executions fail and are tried again, of {_some(failing)}")
    if failed:
        yield _warning(
            "failed",
            f"failed for good: {_executions(overview.queue, 'failed')} of {_some(failed)}; "
            "`pgsched list --state failed` says why, `pgsched retry` or `discard` ends it",
        )


def _versions(overview: Overview) -> Iterator[Problem]:
    versions = sorted({seen.presence.version for seen in overview.alive})
    if len(versions) > 1:
        yield _warning("version-skew", f"live workers are of several versions: {_some(versions)}")


def _error(kind: str, message: str) -> Problem:
    return Problem(Severity.ERROR, kind, message)


def _warning(kind: str, message: str) -> Problem:
    return Problem(Severity.WARNING, kind, message)


def _name(name: str) -> str:
    return cut(name, LONGEST_NAME)


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _executions(queue: Queue, state: str) -> str:
    number = getattr(queue, state)
    return f"{number}{'+' if state in queue.at_least else ''} execution{'' if number == 1 else 's'}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
