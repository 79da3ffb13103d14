"""Runs executions: plain functions in threads, async ones on one event loop in a thread of its own.

The one file where threads and the event loop meet. Takes executions, gives back runs with what is to be written for
them; never touches the database, never raises whatever the user's code does. The loop has its own thread so that a
task which blocks it delays other async tasks only: picking, completing and stopping go on.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import threading
from collections import deque
from contextlib import suppress
from contextvars import Context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from pgsched.domain.completion import decide
from pgsched.domain.context import ExecutionContext
from pgsched.domain.outcome import SUCCEEDED, Crashed, Failed, Finished, Interrupted
from pgsched.worker.clock import monotonic
from pgsched.worker.nursery import Died, Stopped
from pgsched.worker.process import end_stray
from pgsched.worker.run import Run, failed_of, finished_of, run_here, runners_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from pgsched.domain.context import Surroundings
    from pgsched.domain.execution import Held, RunKey
    from pgsched.domain.outcome import Outcome
    from pgsched.domain.task import AnyTask
    from pgsched.worker.board import Board
    from pgsched.worker.nursery import Nursery
    from pgsched.worker.run import Runner


CANCEL_GRACE_S = 1.0
"""How long cancelled async tasks have for their `finally` clauses."""

LOOP_BLOCKED_S = 5.0


class _Started(NamedTuple):
    """A run that may last `until` then (monotonic), and whether it has been told that it lasted longer."""

    execution: Held
    until: float
    is_told: bool = False


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
        tasks: Mapping[str, AnyTask],
        surroundings: Surroundings,
        *,
        board: Board,
        nursery: Nursery,
        concurrency: int,
        report: Callable[[], None],
    ) -> None:
        self._runners = runners_of(tasks)
        self._board = board
        self._nursery = nursery
        self._surroundings = surroundings
        self._report = report
        self._slots = threading.Lock()
        self._concurrency = concurrency
        self._free = concurrency
        self._waiting: deque[Held] = deque()
        self._arrivals: deque[_Arrival] = deque()
        self._runs: deque[Run] = deque()
        self._threads = _Threads(self._run_in_thread, limit=concurrency)
        self._loop = _LoopThread()
        self._is_cancelling = False
        self._interrupted: set[RunKey] = set()
        self._timed: dict[RunKey, _Started] = {}
        self._is_reported = False
        self._pid = os.getpid()

    @property
    def is_idle(self) -> bool:
        return self._free == self._concurrency and not self._waiting

    @property
    def is_held_back(self) -> bool:
        """Whether executions wait although slots are free: quick ones that one thread may see to alone."""
        return self._free > 0 and bool(self._waiting)

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def waited_s(self) -> float:
        """Seconds that the execution which is next to start has waited; 0 where none waits."""
        with self._slots:
            return monotonic() - self._arrivals[0].at if self._waiting else 0.0

    def submit(self, executions: list[Held], *, are_quick: bool = False) -> None:
        """Start them as slots become free, in their order."""
        with self._slots:
            self._waiting.extend(executions)
            if executions:
                self._arrivals.append(_Arrival(len(executions), monotonic()))
        self.fill(are_quick=are_quick)

    def fill(self, *, are_quick: bool = False) -> None:
        """Give free slots the next waiting executions, of whatever kind.

        Of plain functions that are quick only one is given to a thread at a time: it goes on with the next ones before
        another thread would have woken up. If it gets stuck, the next call of this gives one to another thread.
        """
        asynchronous: list[Held] = []
        with self._slots:
            while self._free and self._waiting:
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

    def stop_what_must_not_overlap(self) -> int:
        """Interrupt the runs of tasks that are declared to stop when the worker is out of touch; answers how many."""
        stopped = 0
        for name, runner in self._runners.items():
            if runner.task.on_out_of_touch == "stop":
                cancelled = self._loop.cancel_all(name)
                self._interrupted.update(cancelled)
                stopped += len(cancelled) + self._nursery.stop(name)
        return stopped

    def newly_overdue(self) -> list[Held]:
        """Executions that run longer than their task's timeout and haven't been stopped by it, each told once."""
        now = monotonic()
        found = [started for started in list(self._timed.values()) if started.until <= now]
        new = [started.execution for started in found if not started.is_told]
        for execution in new:
            self._timed[execution.key] = _Started(execution, now, is_told=True)
        return new

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
        return [started.execution for started in list(self._timed.values()) if started.is_told]

    @property
    def overdue_in_s(self) -> float:
        """Seconds until the next one will have run longer than it may; infinite for none."""
        untils = [started.until for started in list(self._timed.values()) if not started.is_told]
        return min(untils, default=math.inf) - monotonic()

    @property
    def is_idle_but_for_overdue(self) -> bool:
        return not self._waiting and self._concurrency - self._free <= len(self.overdue)

    def given_up(self, execution: Held) -> Run:
        """What is to be written for one that is overdue, once its process is gone."""
        task = self._runners[execution.task_name].task
        outcome = Failed(TimeoutError(_told_late(task)), "")
        return self._decided(Finished(execution, outcome, monotonic(), 0.0))

    def _next(self, *, is_async: bool) -> Held | None:
        """The waiting execution that takes over the slot of one that ended; None frees the slot."""
        with self._slots:
            if self._waiting and self._is_on_loop(self._waiting[0]) is is_async:
                return self._take()
            self._free += 1
            return None

    def _is_on_loop(self, execution: Held) -> bool:
        return self._runners[execution.task_name].is_on_loop and not _is_suspect(execution)

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
        task = self._runners[finished.execution.task_name].task
        now = self._surroundings.now()
        return Run(finished, decide(finished, task, now=now, chance=random.random()))

    # Plain functions, in threads

    def _run_in_thread(self, execution: Held) -> None:
        following: Held | None = execution
        while following is not None:
            if self._is_isolated(following):
                self._runs.append(self._run_isolated(following))
            else:
                self._runs.append(self._decided(Context().run(self._run_sync, following)))
            following = self._next(is_async=False)
            self._report_soon()

    def _run_sync(self, execution: Held) -> Finished:
        runner = self._runners[execution.task_name]
        context = ExecutionContext(execution, self._surroundings)
        allowed = runner.task.timeout
        if allowed is not None:
            until = monotonic() + allowed.total_seconds()
            self._timed[execution.key] = _Started(execution, until)
        cell = self._board.enter(execution.seq)
        finished = run_here(runner, execution, context)
        self._board.leave(cell)
        if allowed is not None:
            self._timed.pop(execution.key, None)
        return finished

    # Either, in a process of its own

    def _is_isolated(self, execution: Held) -> bool:
        return self._runners[execution.task_name].is_isolated or _is_suspect(execution)

    def _run_isolated(self, execution: Held) -> Run:
        task = self._runners[execution.task_name].task
        started_at = monotonic()
        allowed_s = task.timeout.total_seconds() if task.timeout else None
        answer = self._nursery.run(execution, allowed_s)
        outcome: Outcome
        match answer:
            case Run():
                return answer
            case Died(cause=cause):
                outcome = Crashed(cause)
            case Stopped(is_late=True):
                outcome = Failed(TimeoutError(_told_late(task)), "")
            case Stopped():
                outcome = Interrupted()
        return self._decided(Finished(execution, outcome, started_at, monotonic() - started_at))

    # Async functions, on the loop

    def _start_async(self, executions: list[Held]) -> None:
        for execution in executions:
            self._loop.start(execution, self._run_on_loop(execution))

    async def _run_on_loop(self, execution: Held) -> None:
        cell = self._board.enter(execution.seq)
        finished = await self._run_async(execution)
        end_stray(self._pid)
        self._board.leave(cell)
        self._runs.append(self._decided(finished))
        following = self._next(is_async=True)
        if following is not None:
            self._loop.start(following, self._run_on_loop(following))
        self._report_soon()
        self._loop.note_end(execution)

    async def _run_async(self, execution: Held) -> Finished:
        runner = self._runners[execution.task_name]
        context = ExecutionContext(execution, self._surroundings)
        started_at = monotonic()
        outcome: Outcome
        try:
            if runner.task.timeout is None:  # a timeout of None would cost as much as all the rest
                await runner.call(execution.task_data, context)
                outcome = SUCCEEDED
            else:
                outcome = await self._run_limited(runner, execution, context)
        except asyncio.CancelledError as error:
            is_ours = self._is_cancelling or execution.key in self._interrupted
            outcome = Interrupted() if is_ours else failed_of(error)
        except BaseException as error:  # noqa: BLE001 the user's function: SystemExit is a failure too
            outcome = failed_of(error)
        return finished_of(context, outcome, started_at)

    async def _run_limited(
        self, runner: Runner, execution: Held, context: ExecutionContext
    ) -> Outcome:
        allowed = runner.task.timeout
        assert allowed is not None
        limit = asyncio.timeout(allowed.total_seconds())
        until = monotonic() + allowed.total_seconds() + CANCEL_GRACE_S
        self._timed[execution.key] = _Started(execution, until)
        try:
            async with limit:
                await runner.call(execution.task_data, context)
        except TimeoutError as error:
            if limit.expired() and not error.args:
                error.args = (_told_late(runner.task),)
            raise
        finally:
            self._timed.pop(execution.key, None)
        return SUCCEEDED


class _Threads:
    """Threads made as more executions run at once than there are threads, up to one a slot."""

    def __init__(self, run: Callable[[Held], None], *, limit: int) -> None:
        self._run = run
        self._limit = limit
        self._given: SimpleQueue[Held] = SimpleQueue()
        self._counting = threading.Lock()
        self._outstanding = 0
        self._made = 0

    def give(self, execution: Held) -> None:
        """Run it on a thread; from any thread."""
        with self._counting:
            self._outstanding += 1
            is_short = self._made < min(self._outstanding, self._limit)
            self._made += is_short
        if is_short:
            threading.Thread(
                target=self._work, name=f"pgsched-task-{self._made}", daemon=True
            ).start()
        self._given.put(execution)

    def _work(self) -> None:
        while True:
            self._run(self._given.get())
            with self._counting:
                self._outstanding -= 1


class _LoopThread:
    """The event loop of async tasks, started when the first one comes."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_at: float | None = None
        self._is_told_blocked = False
        self._tasks: dict[int, tuple[Held, asyncio.Task[Any]]] = {}

    def newly_blocked(self) -> str | None:
        """Asks the loop for a sign of life, and names the task that has kept it from answering for seconds."""
        if self._loop is None or not self._tasks:
            return None
        if self._asked_at is None:
            self._asked_at = monotonic()
            self._loop.call_soon_threadsafe(self._answer)
        elif monotonic() - self._asked_at > LOOP_BLOCKED_S and not self._is_told_blocked:
            self._is_told_blocked = True
            task = asyncio.current_task(self._loop)
            return "unknown" if task is None else task.get_name()
        return None

    def _answer(self) -> None:
        self._asked_at = None
        self._is_told_blocked = False

    def call(self, function: Callable[[list[Held]], None], executions: list[Held]) -> None:
        """Have the loop call it; from any thread."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._run, name="pgsched-loop", daemon=True).start()
        self._loop.call_soon_threadsafe(function, executions)

    def _run(self) -> None:
        """Whatever ends the loop, other runs wait on it: users' code may stop it, and exits in its subtasks end it."""
        assert self._loop is not None
        while not self._loop.is_closed():
            with suppress(BaseException):
                self._loop.run_forever()

    def start(self, execution: Held, run: Coroutine[Any, Any, None]) -> None:
        """Make a task of the coroutine that runs an execution; on the loop's thread."""
        assert self._loop is not None
        task = self._loop.create_task(run, name=execution.task_name)
        self._tasks[id(execution)] = (execution, task)

    def note_end(self, execution: Held) -> None:
        """Its task is about to end. (A callback of the task's would cost as much as the rest of a quick run.)"""
        self._tasks.pop(id(execution), None)

    def take_stillborn(self) -> list[Held]:
        """Those whose tasks are done and have not noted their end."""
        done = [execution for execution, task in list(self._tasks.values()) if task.done()]
        for execution in done:
            self.note_end(execution)
        return done

    def cancel_all(self, name: str | None = None) -> list[RunKey]:
        """Cancel every run, or those of one task; from any thread. Answers which."""
        running = [
            (execution, task)
            for execution, task in list(self._tasks.values())
            if name in {None, execution.task_name}
        ]
        if self._loop is not None:
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for _, task in running])
        return [execution.key for execution, _ in running]


def _is_suspect(execution: Held) -> bool:
    """Whether it may kill the process that it runs in: it has done so, or ran in one that died."""
    return execution.crashes > 0 or execution.suspicions > 0


def _told_late(task: AnyTask) -> str:
    return f"it ran longer than its timeout of {task.timeout}"
