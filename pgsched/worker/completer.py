"""Gathers what is to be written for ended runs and writes it in batches; what can't be written yet waits here.

Nothing is forgotten: a completion leaves only with its receipt. A batch that the database refuses for its content is
written one by one, so that one run's impossible data costs its neighbours nothing.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pgsched.domain.completion import (
    DEFAULT_RETRY,
    Decided,
    MoveToFailed,
    Release,
    Reschedule,
    decide,
    error_line,
)
from pgsched.domain.outcome import Failed, Finished, Interrupted
from pgsched.errors import InvalidData
from pgsched.log import Event
from pgsched.store.completing import Receipt, complete, is_one_statement
from pgsched.worker.executor import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from pgsched.domain.execution import Held
    from pgsched.domain.task import AnyTask
    from pgsched.log import Logger
    from pgsched.store.completing import Writer
    from pgsched.store.session import Session
    from pgsched.store.statement import Names

BATCH = 500
"""Completions a statement: past a few hundred nothing is gained, and locks are held for longer."""


class Completer:
    """The runs that have ended and whose completion has no receipt yet."""

    def __init__(
        self,
        session: Session,
        names: Names,
        writer: Writer,
        *,
        tasks: Mapping[str, AnyTask],
        now: Callable[[], datetime],
        log: Logger,
    ) -> None:
        self._session = session
        self._names = names
        self._writer = writer
        self._tasks = tasks
        self._now = now
        self._log = log
        self._pending: deque[Run] = deque()

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, runs: Iterable[Run]) -> None:
        self._pending.extend(runs)

    def release(self, executions: Iterable[Held]) -> None:
        """Hand back executions that never started."""
        self._pending.extend(
            Run(Finished(execution, Interrupted(), 0.0, 0.0), Decided(Release(execution)))
            for execution in executions
        )

    def write(self) -> list[Run]:
        """Write one batch; answers the runs that are done with. Raises: DatabaseUnavailable, and keeps them all."""
        batch = [self._pending[index] for index in range(min(BATCH, len(self._pending)))]
        if not batch:
            return []
        try:
            done = self._write(batch)
        except InvalidData:
            done = [run for alone in batch for run in self._write_alone(alone)]
        for _ in batch:
            self._pending.popleft()
        return done

    def _write_alone(self, run: Run) -> list[Run]:
        """What the database refuses counts as a failure; if it refuses that failure's completion too, because of what
        the user's handler or schedule answered, the default retry is left: a run must not take its poller along.
        """
        try:
            return self._write([run])
        except InvalidData as error:
            refused = self._refused(run, error)
        try:
            return self._write([refused])
        except InvalidData as error:
            execution = run.finished.execution
            retry = Reschedule(execution, DEFAULT_RETRY.delay, has_succeeded=False)
            return self._write([Run(refused.finished, Decided(retry, error))])

    def _write(self, batch: list[Run]) -> list[Run]:
        completions = [run.decided.completion for run in batch]
        receipts = self._session.run(
            complete(self._names, self._writer, completions),
            is_atomic=not is_one_statement(completions),
        )
        for run, receipt in zip(batch, receipts, strict=True):
            self._note(run, receipt)
        return batch

    def _refused(self, run: Run, error: InvalidData) -> Run:
        """A run whose completion can't be stored counts as failed, with that as its error."""
        execution = run.finished.execution
        self._log.error(Event.COMPLETION_REFUSED, **_names_of(execution), error=str(error))
        finished = run.finished._replace(outcome=Failed(error, str(error)), followups=())
        task = self._tasks[execution.task_name]
        return Run(finished, decide(finished, task, now=self._now(), chance=0.5))

    def _note(self, run: Run, receipt: Receipt) -> None:
        """One line an execution, once its completion has been answered."""
        finished, decided = run
        execution = finished.execution
        facts = {
            **_names_of(execution),
            "attempt": execution.consecutive_failures + 1,
            "lateness_s": round(finished.lateness_s, 4),
            "duration_s": round(finished.duration_s, 4),
        }
        if decided.broken is not None:
            self._log.error(Event.HANDLER_BROKEN, **facts, error=error_line(decided.broken))
        if receipt is not Receipt.CHANGED:
            self._log.warning(
                Event.COMPLETION_STALE,
                **facts,
                held_version=execution.version,
                receipt=receipt.value,
            )
            return
        if isinstance(finished.outcome, Failed):
            failed = finished.outcome
            facts |= {"error": error_line(failed.error), "exception": failed.traceback}
        match decided.completion:
            case MoveToFailed():
                self._log.error(Event.EXECUTION_EXHAUSTED, **facts)
            case Release():
                self._log.info(Event.EXECUTION_RELEASED, **_names_of(execution))
            case Reschedule(has_succeeded=False, when=when):
                self._log.warning(Event.EXECUTION_FAILED, **facts, retry=str(when))
            case _:
                self._log.info(Event.EXECUTION_COMPLETED, **facts)


def _names_of(execution: Held) -> dict[str, str]:
    return {"task": execution.task_name, "instance": execution.task_instance}
