"""What a running task may know and ask.

Holds no connection: what a task schedules is gathered here and written with its completion, in one transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pgsched.domain.request import chosen_delay, new_execution

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta
    from types import TracebackType

    from pgsched.domain.execution import Held, NewExecution
    from pgsched.domain.task import AnyTask


class Transaction(Protocol):
    """For `with` in a plain task and `async with` in an async one."""

    def __enter__(self) -> Any: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None: ...

    async def __aenter__(self) -> Any: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None: ...


class Surroundings(NamedTuple):
    """What a poller lends to the contexts of all its runs."""

    now: Callable[[], datetime]
    is_shutting_down: Callable[[], bool]
    is_out_of_touch: Callable[[], bool]
    log: Callable[[Held], Any]
    trace_context: Callable[[], str | None]
    transaction: Callable[[ExecutionContext, Any], Transaction]


class ExecutionContext:
    """One run of one execution, as its task sees it."""

    __slots__ = ("_execution", "_log", "_surroundings", "followups", "is_complete")

    def __init__(self, execution: Held, surroundings: Surroundings) -> None:
        self._execution = execution
        self._surroundings = surroundings
        self._log: Any = None
        self.followups: list[NewExecution] = []
        self.is_complete = False

    @property
    def task_name(self) -> str:
        return self._execution.task_name

    @property
    def task_instance(self) -> str:
        return self._execution.task_instance

    @property
    def execution_time(self) -> datetime:
        """When it was due (aware, UTC)."""
        return self._execution.execution_time

    @property
    def attempt(self) -> int:
        """1 for the first run since the last success, 2 for the first retry, and so on."""
        return self._execution.consecutive_failures + 1

    @property
    def consecutive_failures(self) -> int:
        return self._execution.consecutive_failures

    @property
    def crashes(self) -> int:
        """How often in a row a worker died while running it."""
        return self._execution.crashes

    @property
    def last_success(self) -> datetime | None:
        return self._execution.last_success

    @property
    def last_failure(self) -> datetime | None:
        return self._execution.last_failure

    @property
    def fencing_token(self) -> int:
        """Grows with every pick of this execution: give it to systems that must refuse a superseded run."""
        return self._execution.version

    @property
    def is_shutting_down(self) -> bool:
        """True once the worker has been asked to stop: a long task may end early and be run again later."""
        return self._surroundings.is_shutting_down()

    @property
    def is_out_of_touch(self) -> bool:
        """True once the worker has not been able to reach the database for most of the heartbeat timeout: after all
        of it others may take this execution. A task that must never overlap should end now.
        """
        return self._surroundings.is_out_of_touch()

    @property
    def log(self) -> Any:
        """A structlog logger that carries task, instance and attempt."""
        if self._log is None:
            self._log = self._surroundings.log(self._execution)
        return self._log

    @property
    def execution(self) -> Held:
        """What is run, as the worker holds it."""
        return self._execution

    def transaction(self, connection: Any = None) -> Transaction:
        """A transaction in which the task does its own SQL and completes: both or neither, exactly once.

        Answers a psycopg connection to the worker's database, a new one or the `connection` given (which must be in
        no transaction). When the block ends the execution is completed in it, with all that was scheduled through
        this context, and it is committed; when the block raises, it is rolled back and the run fails. The execution
        is over then, whatever the task does afterwards. Raises, at the end of the block: ExecutionLost where others
        have the execution by now (nothing was written).
        """
        self._refuse_when_complete()
        return self._surroundings.transaction(self, connection)

    def _refuse_when_complete(self) -> None:
        if self.is_complete:
            raise RuntimeError("the execution is complete: its transaction has been committed")

    def schedule(
        self,
        task: str | AnyTask,
        instance: str,
        data: object = None,
        *,
        at: datetime | None = None,
        in_: timedelta | None = None,
        priority: int | None = None,
    ) -> None:
        """Schedule another execution, written together with this run's success and not at all if it fails.

        An instance that is already there is left as it is. `in_` counts from this call, by the database's clock.
        Raises: InvalidData (a ValueError) for bad names, data or times.
        """
        self._refuse_when_complete()
        delay = chosen_delay(at, in_)
        when = at if delay is None else self._surroundings.now() + delay
        new = new_execution(task, instance, data, at=when, priority=priority)
        self.followups.append(new._replace(trace_context=self._surroundings.trace_context()))
