"""Gathers what is to be written for ended runs and writes it in batches; what can't be written yet waits here.

Nothing is forgotten: a completion leaves only with its receipt. A batch that the database refuses for its content, or
in which somebody has locked a row, is written one by one, so that it costs its neighbours nothing.
"""

from __future__ import annotations

import math
import random
from collections import deque
from datetime import timedelta
from itertools import compress, islice
from operator import not_
from typing import TYPE_CHECKING

from pgsched.domain.completion import (
    DEFAULT_RETRY,
    Decided,
    Release,
    Reschedule,
    Written,
    decide,
)
from pgsched.domain.outcome import Failed, Finished, Interrupted, error_line
from pgsched.errors import DatabaseUnavailable, InvalidData, RowsLocked
from pgsched.store.completing import Receipt, complete, complete_in_place, found_in_place, is_plain
from pgsched.worker.run import Run
from pgsched.worker.timer import Timer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pgsched.domain.execution import Held
    from pgsched.domain.task import AnyTask
    from pgsched.store.completing import Writer
    from pgsched.store.operation import Query, Row
    from pgsched.store.session import Session
    from pgsched.worker.clock import Clock
    from pgsched.worker.telling import Teller

BATCH = 500
"""Completions a statement: past a few hundred nothing is gained, and locks are held for longer."""

LOCK_TIMEOUT = timedelta(milliseconds=200)
"""A completion that waits for somebody's lock on its row keeps back all others of its poller."""

PUT_OFF_S = 1.0
"""What somebody has locked, and what the database takes in no form, is tried again after this."""


class Completer:
    """The runs that have ended and whose completion has no receipt yet."""

    def __init__(
        self,
        session: Session,
        writer: Writer,
        *,
        tasks: Mapping[str, AnyTask],
        clock: Clock,
        answered: Callable[[Sequence[Run], Receipt], None],
        teller: Teller,
    ) -> None:
        self._session = session
        self._writer = writer
        self._tasks = tasks
        self._clock = clock
        self._answered = answered
        self._teller = teller
        self._plain: deque[Run] = deque()
        self._others: deque[Run] = deque()
        self._put_off: list[Run] = []
        self._next_try = Timer(PUT_OFF_S)

    def __len__(self) -> int:
        return len(self._plain) + len(self._others) + len(self._put_off)

    @property
    def wait_s(self) -> float:
        """Seconds until `write` has something to do; infinite for never."""
        if self._plain or self._others:
            return 0.0
        return self._next_try.wait_s if self._put_off else math.inf

    def add(self, runs: Iterable[Run]) -> None:
        for run in runs:
            if is_plain(run.decided.completion):
                self._plain.append(run)
            elif isinstance(run.decided.completion, Written):
                self._note([run], Receipt.CHANGED)
            else:
                self._others.append(run)

    def release(self, executions: Iterable[Held]) -> None:
        """Hand back executions that never started."""
        self._others.extend(
            Run(Finished(execution, Interrupted(), 0.0, 0.0), Decided(Release(execution)))
            for execution in executions
        )

    def write(self, beside: Query | None = None) -> list[Row] | None:
        """Write a batch of each kind, and carry out a query `beside` it in the same round trip, as the very last.

        Answers the rows of that query; None where it was not carried out. Raises: DatabaseUnavailable, and keeps what
        has no receipt.
        """
        if self._put_off and not self._next_try.wait_s:
            self._others.extend(self._put_off)
            self._put_off.clear()
        if self._others:
            self._write_others()
        if not self._plain and beside is None:
            return None
        plain = list(islice(self._plain, BATCH))
        try:
            found, rows = self._write_in_place(plain, beside)
        except (InvalidData, RowsLocked) as error:
            if not plain:
                raise DatabaseUnavailable(str(error)) from error
            found, rows = [False] * len(plain), None  # one of them spoils the batch: each by itself
        for _ in plain:
            self._plain.popleft()
        self._others.extend(compress(plain, map(not_, found)))
        self._note(plain if all(found) else list(compress(plain, found)), Receipt.CHANGED)
        return rows

    def _write_in_place(
        self, runs: list[Run], beside: Query | None
    ) -> tuple[list[bool], list[Row] | None]:
        """Which of these plain completions were written, and what the query beside them answers."""
        batches = complete_in_place(
            self._session.names, self._writer, [run.decided.completion for run in runs]
        )
        queries = [batch.query for batch in batches]
        answers = self._session.run_together([*queries, beside] if beside else queries)
        found = found_in_place(batches, answers[: len(batches)], len(runs))
        return found, answers[-1] if beside else None

    def _write_others(self) -> None:
        batch = list(islice(self._others, BATCH))
        try:
            self._write(batch)
        except (InvalidData, RowsLocked):
            for run in batch:
                is_written = self._is_written_alone(run)
                self._others.popleft()
                if not is_written:
                    self._put_off.append(run)
                    self._next_try.restart()
        else:
            for _ in batch:
                self._others.popleft()

    def _is_written_alone(self, run: Run) -> bool:
        """Not where somebody has locked it, or a trigger of somebody's refuses whatever would end it."""
        try:
            self._write_alone(run)
        except (InvalidData, RowsLocked):
            return False
        return True

    def _write_alone(self, run: Run) -> None:
        """What the database refuses counts as a failure; if it refuses that failure's completion too, because of what
        the user's handler or schedule answered, the default retry is left: a run must not take its poller along.
        """
        try:
            self._write([run])
        except InvalidData as error:
            refused = self._refused(run, error)
        else:
            return
        try:
            self._write([refused])
        except InvalidData as error:
            execution = run.finished.execution
            retry = Reschedule(execution, DEFAULT_RETRY.delay, has_succeeded=False)
            self._write([Run(refused.finished, Decided(retry, error))])

    def _write(self, batch: list[Run]) -> None:
        completions = [run.decided.completion for run in batch]
        receipts = self._session.run(
            complete(self._session.names, self._writer, completions),
            is_atomic=True,
        )
        for run, receipt in zip(batch, receipts, strict=True):
            self._note([run], receipt)

    def _refused(self, run: Run, error: InvalidData) -> Run:
        """A run whose completion can't be stored counts as failed, with that as its error."""
        execution = run.finished.execution
        self._teller.tell_refused(execution, error)
        failed = Failed(error, str(error), error_line(error))
        finished = run.finished._replace(outcome=failed, followups=())
        task = self._tasks[execution.task_name]
        return Run(finished, decide(finished, task, now=self._clock.now, chance=random.random))

    def _note(self, runs: Sequence[Run], receipt: Receipt) -> None:
        """Their completions have been answered: the executions are let go, with a line each that tells of it."""
        self._answered(runs, receipt)
        self._teller.tell(runs, receipt)
