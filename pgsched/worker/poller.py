"""One poller process: wait, pick, hand on, write. Builds its parts once, in `main`.

Its main thread only waits and talks to the database; tasks run in the executor's threads. Never beats, never
recovers: the housekeeper does, so that no task can keep it from doing so.
"""

from __future__ import annotations

import math
import os
import signal
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from pgsched.errors import DatabaseUnavailable, InvalidData
from pgsched.log import Event, Logger
from pgsched.store.completing import Writer
from pgsched.store.liveness import SUSPECTED_TWICE, release_strays
from pgsched.store.picking import ANY_SUSPICIONS, pick_query, picked, survey
from pgsched.store.session import Session
from pgsched.tracing import flush, run_tracing
from pgsched.worker.board import Moment
from pgsched.worker.clock import Clock, monotonic
from pgsched.worker.completer import LOCK_TIMEOUT, Completer
from pgsched.worker.counting import counting
from pgsched.worker.executor import CANCEL_GRACE_S, Executor
from pgsched.worker.frontier import Frontier
from pgsched.worker.guard import Guard
from pgsched.worker.held import Holding
from pgsched.worker.looks import Looks
from pgsched.worker.nursery import Nursery
from pgsched.worker.outage import Outage
from pgsched.worker.process import (
    AT_ONCE,
    DRAIN,
    EXIT_AT_ONCE,
    EXIT_OK,
    RETIRE,
    Signals,
    resident_bytes,
    standard_files,
)
from pgsched.worker.surroundings import surroundings_of
from pgsched.worker.telling import Teller
from pgsched.worker.timer import Timer
from pgsched.worker.wakeup import Bell, Wakeup, readable
from pgsched.worker.wills import Last

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from pgsched.domain.execution import Held
    from pgsched.store.completing import Receipt
    from pgsched.store.picking import Picked
    from pgsched.worker.board import Board
    from pgsched.worker.plan import Plan
    from pgsched.worker.run import Run
    from pgsched.worker.tally import Tally
    from pgsched.worker.wills import Wills

HEALTH_CHECK_S = 1.0

TURN_S = 5.0
"""The loop makes a turn at least this often, and three times in `stall_timeout`, to show that it does."""

HELD_BACK_S = 0.001
"""What one thread was to see to alone is given to another after this: it is not as quick as was thought."""

LONGEST_WAITING_S = 0.05
"""What has waited here this long for a slot is handed back: another poller may have one free."""


class Shared(NamedTuple):
    """What a poller shares with other processes of its worker: made before the first fork."""

    board: Board
    nursery: socket.socket
    wills: Wills
    wake: int
    lifeline: int
    ready: int
    tally: Tally | None = None


class Stage(IntEnum):
    """Forward only."""

    RUNNING = 0
    DRAINING = 1
    CANCELLING = 2
    STOPPED = 3


class Poller:
    """The control loop of one poller."""

    def __init__(
        self,
        plan: Plan,
        identity: str,
        *,
        number: int,
        shared: Shared,
    ) -> None:
        self._board = shared.board
        self._wills = shared.wills
        # One poller of a worker takes what is suspected for the second time, one at a time (decisions/007).
        self._takes_suspects = number == 0
        self._suspect: Held | None = None
        self._completed = 0
        self._most_executions = plan.max_executions_per_process or math.inf
        self._turn_s = min(TURN_S, plan.stall_timeout.total_seconds() / 3)
        self._health_check = Timer(HEALTH_CHECK_S)
        self._standard_files = standard_files()
        self._plan = plan
        self._tasks = list(plan.tasks)
        self._identity = identity
        self._ends = {"wake": shared.wake, "lifeline": shared.lifeline}
        self._ready = shared.ready
        self._is_ready = False
        self._log = Logger(poller=identity)
        # What may come to the whole group: the supervisor alone decides what it means.
        ignored = (signal.SIGINT, signal.SIGHUP)
        self._signals = Signals((DRAIN, RETIRE, AT_ONCE), ignored)
        self._stage = Stage.RUNNING
        self._stage_ends_at = math.inf
        self._status = EXIT_OK
        self._clock = Clock()
        self._session = Session(
            plan.database, f"pgsched {identity}", Guard(), lock_timeout=LOCK_TIMEOUT
        )
        self._outage = Outage(self._log)
        self._strays = Looks()
        self._wakeup = Wakeup(self._clock, polling_interval_s=plan.polling_interval.total_seconds())
        self._frontier = Frontier()
        self._holding = Holding(concurrency=plan.concurrency, batch_size=plan.batch_size)
        self._finished = Bell()
        self._counting = counting(shared.tally, self._clock, max_crashes=plan.max_crashes)
        self._tracing = run_tracing(self._clock.now, plan.mask)
        self._executor = Executor(
            plan,
            surroundings_of(plan, self._board, self._clock, poller=identity),
            board=self._board,
            nursery=Nursery(shared.nursery, self._clock, identity),
            tracing=self._tracing,
            report=self._finished.ring,
        )
        teller = Teller(
            self._log,
            self._clock,
            failures_level=plan.failures_level,
            max_crashes=plan.max_crashes,
            mask=plan.mask,
        )
        self._completer = Completer(
            self._session,
            Writer(identity, plan.polling_interval, plan.max_crashes, plan.mask),
            tasks=plan.tasks,
            clock=self._clock,
            answered=self._note_answered,
            teller=teller,
        )

    def run(self) -> int:
        """Run until drained or told to leave; answers the exit status."""
        while self._stage is not Stage.STOPPED:
            self._wait()
            self._take_finished()
            if not self._outage.wait_s:
                self._talk()
            if not self._health_check.wait_s:
                self._check_health()
                self._health_check.restart()
            self._advance()
            if self._counting is not None:
                self._counting.note_turn(self._executor.busy)
            self._board.note(Moment.TURNED, monotonic())
        self._session.close()
        self._leave_will()
        if self._tracing is not None:
            self._tracing.end_open()
        flush()
        self._log.info(Event.POLLER_STOPPED, pid=os.getpid(), held=len(self._holding))
        self._board.note(Moment.LEFT, monotonic())
        return self._status

    # What there is to wait for

    def _wait(self) -> None:
        ends = [self._finished.fileno(), self._signals.bell.fileno(), *self._ends.values()]
        ready = readable(ends, self._wait_s())
        if self._finished.fileno() in ready:
            self._finished.hush()
        for received in self._signals.received():
            self._obey(received)
        if self._ends.get("wake") in ready:
            self._hear()
        if self._ends.get("lifeline") in ready:
            del self._ends["lifeline"]
            self._log.warning(Event.POLLER_ORPHANED, pid=os.getpid())
            self._drain()

    def _hear(self) -> None:
        try:
            hints = self._wakeup.hear(self._ends["wake"])
        except EOFError:
            del self._ends["wake"]  # supervisor and housekeeper are both gone
        else:
            now = self._clock.now().timestamp()
            for hint in hints:
                self._frontier.note_hint(hint, now=now)

    def _wait_s(self) -> float:
        """Until the database is tried again, the next look, or the end of a stage: whatever comes first."""
        waits = [self._stage_ends_at - monotonic()]
        if self._outage.is_on:
            waits.append(self._outage.wait_s)
        else:
            waits += [self._completer.wait_s, self._strays.wait_s]
        if self._is_picking and not self._outage.is_on and self._holding.room > 0:
            waits.append(self._wakeup.wait_s)
        if self._holding:
            waits += [self._executor.overdue_in_s, self._health_check.wait_s]
        waits.append(self._turn_s)
        if self._executor.is_held_back:
            waits.append(HELD_BACK_S)
        elif self._executor.has_waiting and not self._outage.is_on:
            waits.append(LONGEST_WAITING_S - self._executor.waited_s)
        return max(0.0, min(waits))

    def _obey(self, received: signal.Signals) -> None:
        if received is AT_ONCE:
            self._status = EXIT_AT_ONCE
            self._drain()
            self._stage_ends_at = monotonic()
            self._stage = Stage.CANCELLING
        elif received is RETIRE:
            self._stop_picking()
        else:
            self._drain()

    # What it does

    def _take_finished(self) -> None:
        runs = self._executor.collect()
        self._holding.note_runs([run.finished.duration_s for run in runs])
        self._completer.add(runs)
        self._executor.fill(are_quick=self._holding.is_quick)
        if self._executor.waited_s > LONGEST_WAITING_S and not self._outage.is_on:
            self._holding.note_stall()
            self._completer.release(self._executor.take_waiting())
        self._completed += len(runs)
        if self._completed >= self._most_executions:
            self._recycle(f"it has run {self._completed} executions")
        for execution in self._executor.newly_overdue():
            self._log.warning(
                Event.EXECUTION_OVERRAN, task=execution.task_name, instance=execution.task_instance
            )
            self._recycle("an execution overran")
            self._drain()  # it may never end

    def _check_health(self) -> None:
        """What tasks do to their process: hold the event loop, close what isn't theirs, leave memory behind."""
        self._executor.hand_back_stillborn()
        if blocked := self._executor.newly_blocked():
            self._log.warning(Event.LOOP_BLOCKED, task=blocked)
        if standard_files() != self._standard_files:
            self._recycle("a task has closed stdin, stdout or stderr")
        most = self._plan.max_memory_per_process
        has_run = self._completed > 0  # the next process would hold as much before its first run
        if has_run and most is not None and (resident := resident_bytes()) > most:
            self._recycle(f"it holds {resident // 10**6} MB")

    def _talk(self) -> None:
        try:
            self._release_strays()
            self._turn()
        except (DatabaseUnavailable, InvalidData) as error:
            self._outage.note_lost(error)
            self._strays.begin()
        else:
            self._note_connected()

    def _turn(self) -> None:
        """One round trip: write what has ended, and pick as many as there is room for, if it is time to."""
        wanted = self._holding.room if self._is_picking and self._wakeup.is_time else 0
        if wanted and self._frontier.is_stale and not self._knows_where():
            wanted = wanted if self._survey() else 0
        query = None
        if wanted:
            query = pick_query(
                self._identity,
                self._tasks,
                self._frontier.marks,
                limit=wanted,
                most_suspicions=self._most_suspicions,
            )
        asked_at = monotonic()
        suspect = self._suspect
        rows = self._completer.write(query)
        if rows is not None:
            answer = picked(rows)
            self._clock.observe(answer.at, asked_at)
            self._take(answer, wanted, asked_at)
        if suspect is not None and self._suspect is None:
            self._wakeup.look_now()  # for the next one of its kind

    def _knows_where(self) -> bool:
        """Whether a hint or the last survey has said where to look: the quickest way to what has just become due."""
        is_hinted = self._wakeup.is_hinted and self._frontier.knows_where
        return is_hinted or self._frontier.has_come

    def _release_strays(self) -> None:
        """A pick whose answer was lost has been made: what it took must not wait for this poller to end."""
        if self._strays.wait_s:
            return
        released = self._session.run(
            release_strays(self._session.names, self._identity, self._holding.keys)
        )
        self._strays.note_look()
        if released:
            self._log.info(Event.EXECUTION_RELEASED, executions=released)

    def _survey(self) -> bool:
        """Find where executions wait; answers whether any is due, else when to look again is settled."""
        started_at = monotonic()
        found = self._session.run(survey(self._tasks, most_suspicions=self._most_suspicions))
        self._frontier.note_survey(found, took_s=monotonic() - started_at)
        if not found.is_any_due:
            self._wakeup.look_in(self._frontier.coming_s)
        return found.is_any_due

    @property
    def _most_suspicions(self) -> int:
        is_free = self._takes_suspects and self._suspect is None
        return ANY_SUSPICIONS if is_free else SUSPECTED_TWICE - 1

    def _take(self, picked: Picked, wanted: int, asked_at: float) -> None:
        executions = picked.executions
        if self._counting is not None:
            self._counting.note_pick(len(executions), wanted)
        if executions:
            self._wakeup.note_stir()
            if self._tracing is not None:
                self._tracing.note_pick(len(executions), monotonic() - asked_at)
        executions = self._holding.add(executions)
        if suspects := [each for each in executions if each.suspicions >= SUSPECTED_TWICE]:
            self._suspect = suspects[0]
            self._completer.release(suspects[1:])
            executions = [each for each in executions if each not in suspects[1:]]
        self._executor.submit(executions, since=asked_at, are_quick=self._holding.is_quick)
        if len(picked.executions) == wanted:
            self._frontier.go_on(picked.marks)
            self._frontier.note_pick(picked.at)
            self._wakeup.look_now()
        else:
            self._frontier.note_end(len(picked.executions))
            self._frontier.note_pick(picked.at)
            self._wakeup.look_in(self._frontier.wait_s)

    def _note_answered(self, runs: Sequence[Run], receipt: Receipt) -> None:
        """Whatever the receipt says, their executions are no longer this poller's."""
        executions = [run.finished.execution for run in runs]
        self._holding.let_go(executions)
        if self._counting is not None:
            self._counting.note_answered(runs, receipt)
        suspect = self._suspect
        if suspect is not None and any(each.key == suspect.key for each in executions):
            self._suspect = None

    def _note_connected(self) -> None:
        if self._outage.note_answered():
            self._wakeup.look_now()
        if not self._is_ready:
            self._is_ready = True
            os.write(self._ready, b"\0")
            self._board.note(Moment.READY, monotonic())
            self._log.info(Event.POLLER_STARTED, pid=os.getpid())

    # How it ends

    @property
    def _is_picking(self) -> bool:
        return self._stage is Stage.RUNNING

    def _drain(self) -> None:
        """Stop picking; what runs may end within the shutdown timeout."""
        self._board.note(Moment.STOPPING, monotonic())
        self._stop_picking()
        if self._stage is Stage.DRAINING and self._stage_ends_at == math.inf:
            self._stage_ends_at = monotonic() + self._plan.shutdown_timeout.total_seconds()

    def _recycle(self, reason: str) -> None:
        """Make room for another process. There is no hurry: what runs may take its time."""
        if self._stage is Stage.RUNNING:
            self._log.warning(Event.POLLER_RECYCLED, pid=os.getpid(), reason=reason)
            self._stop_picking()

    def _stop_picking(self) -> None:
        if self._stage is Stage.RUNNING:
            self._stage = Stage.DRAINING
            self._board.note(Moment.RETIRED, monotonic())
            self._completer.release(self._executor.take_waiting())

    def _leave_will(self) -> None:
        """Runs that don't end with their time end with this process: what becomes of them is written after it."""
        if overdue := self._executor.overdue:
            runs = [self._executor.given_up(execution) for execution in overdue]
            self._wills.leave(
                self._identity, [Last(run.decided.completion, run.finished.span) for run in runs]
            )

    def _advance(self) -> None:
        """On to the next stage, when this one's work is done or its time is over.

        What still runs then is left picked: only when this process is gone can it be handed back without two running
        at a time, and the housekeeper does that as soon as the supervisor has seen it go.
        """
        if self._stage is Stage.RUNNING:
            return
        if (
            self._executor.is_idle_but_for_overdue
            and not self._completer
            and not self._has_uncollected()
        ):
            self._stage = Stage.STOPPED
        elif monotonic() < self._stage_ends_at:
            return
        elif self._stage is Stage.DRAINING:
            self._stage = Stage.CANCELLING
            self._stage_ends_at = monotonic() + CANCEL_GRACE_S
            self._executor.cancel()
        else:
            self._stage = Stage.STOPPED

    def _has_uncollected(self) -> bool:
        runs = self._executor.collect()
        self._completer.add(runs)
        return bool(runs)
