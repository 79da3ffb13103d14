"""Runs executions: plain functions in threads, async ones on one event loop in a thread of its own.

The one file where threads and the event loop meet. Takes executions, gives back runs with what is to be written for
them; never touches the database, never raises whatever the user's code does.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING

from pgsched.domain.completion import decide
from pgsched.domain.context import ExecutionContext
from pgsched.domain.outcome import SUCCEEDED, Finished, Interrupted
from pgsched.log import bind_run
from pgsched.worker.clock import monotonic
from pgsched.worker.deadlines import Deadlines
from pgsched.worker.loop_thread import LoopThread
from pgsched.worker.process import end_stray
from pgsched.worker.run import (
    Run,
    failed_of,
    finished_of,
    overran,
    run_here,
    runnables_of,
    told_late,
)
from pgsched.worker.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgsched.domain.context import Surroundings
    from pgsched.domain.execution import Held
    from pgsched.domain.outcome import Outcome, SpanIds
    from pgsched.tracing import RunTracing
    from pgsched.worker.board import Board
    from pgsched.worker.nursery import Nursery
    from pgsched.worker.plan import Plan
    from pgsched.worker.run import Runnable


START_WITHIN = 0.5
"""Of the heartbeat timeout: what has been held for longer, without having been started, is handed back instead."""

CANCEL_GRACE_S = 1.0
"""How long cancelled async tasks have for their `finally` clauses."""


class _Arrival:
    """How many of the executions that came together still wait, and since when (monotonic)."""

    __slots__ = ("at", "left")

    def __init__(self, left: int, at: float) -> None:
        self.left = left
        self.at = at


class Executor:
    """A bounded number of slots; each takes the next waiting execution of its kind as soon as it is free."""

    def __init__(
        self,
        plan: Plan,
        surroundings: Surroundings,
        *,
        board: Board,
        nursery: Nursery,
        tracing: RunTracing | None,
        report: Callable[[], None],
    ) -> None:
        self._mask = plan.mask
        self._runnables = runnables_of(plan.tasks, tracing)
        self._tracing = tracing
        self._start_within_s = plan.heartbeat_timeout.total_seconds() * START_WITHIN
        self._board = board
        self._nursery = nursery
        self._surroundings = surroundings
        self._report = report
        self._slots = threading.Lock()
        self._concurrency = self._free = plan.concurrency
        self._waiting: deque[Held] = deque()
        self._arrivals: deque[_Arrival] = deque()
        self._runs: deque[Run] = deque()
        self._threads = Threads(self._run_in_thread, limit=plan.concurrency)
        self._loop = LoopThread()
        self._is_cancelling = False
        self._deadlines = Deadlines()
        self._is_reported = False
        self._pid = os.getpid()

    @property
    def is_held_back(self) -> bool:
        """Whether executions wait although slots are free: quick ones that one thread may see to alone."""
        with self._slots:
            return self._free > 0 and self._may_start()

    @property
    def busy(self) -> int:
        """Slots that are taken."""
        return self._concurrency - self._free

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def waited_s(self) -> float:
        """Seconds that the execution which is next to start has waited; 0 where none waits."""
        with self._slots:
            return monotonic() - self._arrivals[0].at if self._waiting else 0.0

    def submit(self, executions: list[Held], *, since: float, are_quick: bool = False) -> None:
        """Start them as slots become free, in their order; `since` (monotonic) they are this poller's."""
        with self._slots:
            self._waiting.extend(executions)
            if executions:
                self._arrivals.append(_Arrival(len(executions), since))
        self.fill(are_quick=are_quick)

    def fill(self, *, are_quick: bool = False) -> None:
        """Give free slots the next waiting executions, of whatever kind.

        Of plain functions that are quick only one is given to a thread at a time: it goes on with the next ones before
        another thread would have woken up. If it gets stuck, the next call of this gives one to another thread.
        """
        asynchronous: list[Held] = []
        with self._slots:
            while self._free and self._may_start():
                execution = self._take()
                self._free -= 1
                if self._is_on_loop(execution):
                    asynchronous.append(execution)
                    continue
                self._threads.give(execution)
                if are_quick:
                    break
        if asynchronous:
            self._loop.call(self._start_async, asynchronous)

    def collect(self) -> list[Run]:
        """The runs that have ended since the last call."""
        self._is_reported = False
        return [self._runs.popleft() for _ in range(len(self._runs))]

    def take_waiting(self) -> list[Held]:
        """Take back what has not started."""
        with self._slots:
            waiting = list(self._waiting)
            self._waiting.clear()
            self._arrivals.clear()
        return waiting

    def cancel(self) -> None:
        """Interrupt what can be interrupted: async tasks. A thread can't be: its process must end."""
        self._is_cancelling = True
        self._loop.cancel_all()
        self._nursery.stop()

    def newly_overdue(self) -> list[Held]:
        """Executions that run longer than their task's timeout and haven't been stopped by it, each told once."""
        return self._deadlines.newly_over()

    def hand_back_stillborn(self) -> None:
        """Hand back async runs that were cancelled before their first step: nothing of ours has seen them end."""
        for execution in self._loop.take_stillborn():
            self._runs.append(self._decided(Finished(execution, Interrupted(), monotonic(), 0.0)))
            with self._slots:
                self._free += 1

    def newly_blocked(self) -> str | None:
        """The name of the task that has held the event loop for seconds, told once each time."""
        return self._loop.newly_blocked()

    @property
    def overdue(self) -> list[Held]:
        """All that run longer than they may."""
        return self._deadlines.over

    @property
    def overdue_in_s(self) -> float:
        """Seconds until the next one will have run longer than it may; infinite for none."""
        return self._deadlines.next_in_s

    @property
    def is_idle_but_for_overdue(self) -> bool:
        return not self._waiting and self.busy <= len(self.overdue)

    def given_up(self, execution: Held) -> Run:
        """What is to be written for one that is overdue, once its process is gone."""
        outcome = overran(self._runnables[execution.task_name].task)
        span = self._lost(execution, outcome, duration_s=0.0)
        return self._decided(Finished(execution, outcome, monotonic(), 0.0, span=span))

    def _lost(self, execution: Held, outcome: Outcome, *, duration_s: float) -> SpanIds | None:
        """A run that was ended from outside has a span all the same."""
        if self._tracing is None:
            return None
        task = self._runnables[execution.task_name].task
        return self._tracing.note_lost(task, execution, outcome, duration_s=duration_s)

    def _next(self, *, is_async: bool) -> Held | None:
        """The waiting execution that takes over the slot of one that ended; None frees the slot."""
        with self._slots:
            if self._may_start() and self._is_on_loop(self._waiting[0]) is is_async:
                return self._take()
            self._free += 1
            return None

    def _is_on_loop(self, execution: Held) -> bool:
        return self._runnables[execution.task_name].is_on_loop and not _is_suspect(execution)

    def _may_start(self) -> bool:
        """Whether there is one that may be started; the caller has the lock.

        Not what came so long ago that others may have it by now: this process has stood still, or the database is away.
        """
        return bool(self._waiting) and monotonic() - self._arrivals[0].at < self._start_within_s

    def _take(self) -> Held:
        """The next waiting execution; the caller has the lock."""
        arrival = self._arrivals[0]
        arrival.left -= 1
        if not arrival.left:
            self._arrivals.popleft()
        return self._waiting.popleft()

    def _report_soon(self) -> None:
        """Wake the control thread, unless it has been woken and hasn't collected yet."""
        if not self._is_reported:
            self._is_reported = True
            self._report()

    def _decided(self, finished: Finished) -> Run:
        """Asks the user's failure handler and schedule, while the run is on the board: they may kill the process."""
        task = self._runnables[finished.execution.task_name].task
        return Run(
            finished, decide(finished, task, now=self._surroundings.now, chance=random.random)
        )

    # Plain functions, in threads

    def _run_in_thread(self, execution: Held) -> None:
        following: Held | None = execution
        while following is not None:
            self._runs.append(self._run(following))
            following = self._next(is_async=False)
            self._report_soon()

    def _run(self, execution: Held) -> Run:
        """Never raises: without its run the slot would be lost, and the execution stay picked for ever."""
        try:
            run = self._run_isolated if self._is_isolated(execution) else self._run_sync
            return Context().run(run, execution)
        except Exception as error:  # noqa: BLE001 ours, or what comes back from a process of the user's
            return self._decided(
                Finished(execution, failed_of(error, self._mask), monotonic(), 0.0)
            )

    def _run_sync(self, execution: Held) -> Run:
        runnable = self._runnables[execution.task_name]
        context = ExecutionContext(execution, self._surroundings)
        allowed = runnable.task.timeout
        cell = self._board.enter(execution.seq)
        try:
            if allowed is not None:
                self._deadlines.begin(execution, allowed.total_seconds())
            finished = run_here(runnable, execution, context, self._mask)
            end_stray(self._pid)
            if allowed is not None:
                self._deadlines.end(execution)
            return self._decided(finished)
        finally:
            self._board.leave(cell)

    # Either, in a process of its own

    def _is_isolated(self, execution: Held) -> bool:
        return self._runnables[execution.task_name].is_isolated or _is_suspect(execution)

    def _run_isolated(self, execution: Held) -> Run:
        task = self._runnables[execution.task_name].task
        started_at = monotonic()
        answer = self._nursery.run(task, execution)
        if isinstance(answer, Run):
            return answer
        bind_run(execution)
        cell = self._board.enter(execution.seq)
        try:
            duration_s = monotonic() - started_at
            if answer is None:
                return self._decided(Finished(execution, Interrupted(), started_at, duration_s))
            span = self._lost(execution, answer, duration_s=duration_s)
            return self._decided(Finished(execution, answer, started_at, duration_s, span=span))
        finally:
            self._board.leave(cell)

    # Async functions, on the loop

    def _start_async(self, executions: list[Held]) -> None:
        for execution in executions:
            self._loop.start(execution, self._run_on_loop(execution))

    async def _run_on_loop(self, execution: Held) -> None:
        cell = self._board.enter(execution.seq)
        try:
            finished = await self._run_async(execution)
            end_stray(self._pid)
            self._runs.append(self._decided(finished))
        finally:
            self._board.leave(cell)
        following = self._next(is_async=True)
        if following is not None:
            self._loop.start(following, self._run_on_loop(following))
        self._report_soon()
        self._loop.note_end(execution)

    async def _run_async(self, execution: Held) -> Finished:
        runnable = self._runnables[execution.task_name]
        context = ExecutionContext(execution, self._surroundings)
        bind_run(execution)
        started_at = monotonic()
        outcome: Outcome
        try:
            if (
                runnable.task.timeout is None
            ):  # a timeout of None would cost as much as all the rest
                await runnable.call(execution.task_data, context)
                outcome = SUCCEEDED
            else:
                outcome = await self._run_limited(runnable, execution, context)
        except asyncio.CancelledError as error:
            outcome = Interrupted() if self._is_cancelling else failed_of(error, self._mask)
        except BaseException as error:  # noqa: BLE001 the user's function: SystemExit is a failure too
            outcome = failed_of(error, self._mask)
        return finished_of(context, outcome, started_at)

    async def _run_limited(
        self, runnable: Runnable, execution: Held, context: ExecutionContext
    ) -> Outcome:
        allowed = runnable.task.timeout
        assert allowed is not None
        limit = asyncio.timeout(allowed.total_seconds())
        self._deadlines.begin(execution, allowed.total_seconds() + CANCEL_GRACE_S)
        try:
            async with limit:
                await runnable.call(execution.task_data, context)
        except TimeoutError as error:
            if limit.expired() and not error.args:
                error.args = (told_late(runnable.task),)
            raise
        finally:
            self._deadlines.end(execution)
        return SUCCEEDED


def _is_suspect(execution: Held) -> bool:
    """Whether it may kill the process that it runs in: it has done so, or ran in one that died."""
    return execution.crashes > 0 or execution.suspicions > 0
