"""Gathers what is to be written for ended runs and writes it in batches; what can't be written yet waits here.

Nothing is forgotten: a completion leaves only with its receipt. A batch that the database refuses for its content is
written one by one, so that one run's impossible data costs its neighbours nothing.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from pgsched.domain.completion import (
    DEFAULT_RETRY,
    Decided,
    MoveToFailed,
    Release,
    Reschedule,
    decide,
    error_line,
)
from pgsched.domain.outcome import SUCCEEDED, Failed, Finished, Interrupted
from pgsched.errors import DatabaseUnavailable, InvalidData
from pgsched.log import Event
from pgsched.store.completing import Receipt, complete, complete_in_place, found_in_place, is_plain
from pgsched.worker.executor import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgsched.domain.execution import Held
    from pgsched.domain.task import AnyTask
    from pgsched.log import Logger
    from pgsched.store.completing import Writer
    from pgsched.store.operation import Query, Row
    from pgsched.store.session import Session
    from pgsched.store.statement import Names
    from pgsched.worker.clock import Clock

BATCH = 500
"""Completions a statement: past a few hundred nothing is gained, and locks are held for longer."""


class Written(NamedTuple):
    """The runs that are done with, and what the query beside them answered: None where it was not carried out."""

    done: list[Run]
    rows: list[Row] | None


class Completer:
    """The runs that have ended and whose completion has no receipt yet."""

    def __init__(
        self,
        session: Session,
        names: Names,
        writer: Writer,
        *,
        tasks: Mapping[str, AnyTask],
        clock: Clock,
        log: Logger,
    ) -> None:
        self._session = session
        self._names = names
        self._writer = writer
        self._tasks = tasks
        self._clock = clock
        self._log = log
        self._is_told = log.is_enabled(logging.INFO)
        self._plain: deque[Run] = deque()
        self._others: deque[Run] = deque()

    def __len__(self) -> int:
        return len(self._plain) + len(self._others)

    def add(self, runs: Iterable[Run]) -> None:
        for run in runs:
            (self._plain if is_plain(run.decided.completion) else self._others).append(run)

    def release(self, executions: Iterable[Held]) -> None:
        """Hand back executions that never started."""
        self._others.extend(
            Run(Finished(execution, Interrupted(), 0.0, 0.0), Decided(Release(execution)))
            for execution in executions
        )

    def write(self, beside: Query | None = None) -> Written:
        """Write a batch of each kind, and carry out a query `beside` it in the same round trip, as the very last.

        Raises: DatabaseUnavailable, and keeps what has no receipt.
        """
        done = self._write_others() if self._others else []
        if not self._plain and beside is None:
            return Written(done, None)
        plain = [self._plain[index] for index in range(min(BATCH, len(self._plain)))]
        try:
            found, rows = self._write_in_place(plain, beside)
        except InvalidData as error:
            if not plain:
                raise DatabaseUnavailable(str(error)) from error
            found, rows = [False] * len(plain), None  # one of them spoils the batch: each by itself
        for run, is_found in zip(plain, found, strict=True):
            self._plain.popleft()
            if is_found:
                self._note(run, Receipt.CHANGED)
                done.append(run)
            else:
                self._others.append(run)
        return Written(done, rows)

    def _write_in_place(
        self, runs: list[Run], beside: Query | None
    ) -> tuple[list[bool], list[Row] | None]:
        """Which of these plain completions were written, and what the query beside them answers."""
        batches = complete_in_place(
            self._names, self._writer, [run.decided.completion for run in runs]
        )
        queries = [batch.query for batch in batches]
        answers = self._session.run_together([*queries, beside] if beside else queries)
        found = found_in_place(batches, answers[: len(batches)], len(runs))
        return found, answers[-1] if beside else None

    def _write_others(self) -> list[Run]:
        batch = [self._others[index] for index in range(min(BATCH, len(self._others)))]
        try:
            done = self._write(batch)
        except InvalidData:
            done = [run for alone in batch for run in self._write_alone(alone)]
        for _ in batch:
            self._others.popleft()
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
            is_atomic=True,
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
        return Run(finished, decide(finished, task, now=self._clock.now(), chance=0.5))

    def _note(self, run: Run, receipt: Receipt) -> None:
        """One line an execution, once its completion has been answered."""
        finished, decided = run
        execution = finished.execution
        if (
            not self._is_told
            and receipt is Receipt.CHANGED
            and finished.outcome is SUCCEEDED
            and decided.broken is None
        ):
            return
        facts = {
            **_names_of(execution),
            "attempt": execution.consecutive_failures + 1,
            "lateness_s": round(self._lateness_s(finished), 4),
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

    def _lateness_s(self, finished: Finished) -> float:
        started = self._clock.at(finished.started_at)
        return (started - finished.execution.execution_time).total_seconds()


def _names_of(execution: Held) -> dict[str, str]:
    return {"task": execution.task_name, "instance": execution.task_instance}
