"""Executions as values: what is asked for, what a poller holds, what a reader sees."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime

RECURRING_INSTANCE = "default"
"""The instance under which a recurring task is scheduled by itself."""

NAME_LIMIT_BYTES = 1000
"""Longest task name or instance: both share one index entry, which Postgres bounds at some 2,700 bytes."""


class State(StrEnum):
    """What a user sees of an execution; derived, never stored."""

    DUE = "due"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    RETRYING = "retrying"
    FAILED = "failed"


class TaskInstance(NamedTuple):
    """The identity of one piece of work."""

    task_name: str
    task_instance: str


RunKey: TypeAlias = tuple[str, str, int]
"""Task name, task instance, version."""


class NewExecution(NamedTuple):
    """One execution to schedule: `at` None means now, `priority` None the lowest.

    `trace_context` (a W3C traceparent) is the trace that its run goes on with; None: one of its own, linked to the
    scheduling call.
    """

    task: str
    instance: str
    data: Any = None
    at: datetime | None = None
    priority: int | None = None
    trace_context: str | None = None


class Held(NamedTuple):
    """An execution that a poller has picked: everything its run and its completion need.

    `task_data` is JSON text as it came, or None: parsed only when a task wants it. `place` and `writer` are where the
    pick put its row version and in which transaction, for whoever wants to find that very version again. `seq` is the
    number of its row; `suspicions` say how often in a row it ran in a process that died, beside others.
    `trace_context` is the W3C traceparent of what has scheduled it, behind `link:` where its runs are not part of that
    trace but linked to it.
    """

    task_name: str
    task_instance: str
    task_data: str | None
    execution_time: datetime
    version: int
    priority: int | None
    consecutive_failures: int
    crashes: int
    last_success: datetime | None
    last_failure: datetime | None
    place: str = "(0,0)"
    writer: str = "0"
    seq: int = 0
    suspicions: int = 0
    trace_context: str | None = None

    @property
    def id(self) -> TaskInstance:
        return TaskInstance(self.task_name, self.task_instance)

    @property
    def key(self) -> RunKey:
        """The identity of this one run: a superseded run of the same instance may go on beside it."""
        return (self.task_name, self.task_instance, self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """An execution as a reader sees it: the columns of the table by name, and its state."""

    task_name: str
    task_instance: str
    task_data: Any
    execution_time: datetime
    picked: bool
    picked_by: str | None
    last_success: datetime | None
    last_failure: datetime | None
    consecutive_failures: int
    last_heartbeat: datetime | None
    version: int
    priority: int | None
    crashes: int
    state: State

    def asdict(self) -> dict[str, Any]:
        """The fields in their order, as `list --json` shows them."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedExecution(Execution):
    """An execution whose retries are exhausted, with what it failed of."""

    error: str
    traceback: str | None
    attempts: int
    failed_at: datetime
