"""The parent of a worker's processes: forks, watches, restarts, passes signals on.

Holds no connection, ever, so that each later fork is as clean as the first; never sees an execution. What pollers
leave behind when they die is handed on by the housekeeper, to which it keeps telling who is there.
"""

from __future__ import annotations

import gc
import math
import os
import secrets
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from setproctitle import setproctitle

from pgsched.log import Event, Logger
from pgsched.worker.board import Board, Moment
from pgsched.worker.clock import monotonic
from pgsched.worker.housekeeper import Household, Housekeeper
from pgsched.worker.notify import notify
from pgsched.worker.nursery import DEATH, Sockets, new_sockets, status_word
from pgsched.worker.poller import Poller, Shared
from pgsched.worker.preflight import preflight
from pgsched.worker.process import (
    AT_ONCE,
    DRAIN,
    EXIT_AT_ONCE,
    EXIT_OK,
    Pipe,
    Signals,
    fork,
    new_pipe,
)
from pgsched.worker.roster import End, Ended, Member, Orders, Roster
from pgsched.worker.runner import run_errand
from pgsched.worker.wakeup import drained, readable
from pgsched.worker.wills import Wills

if TYPE_CHECKING:
    from pgsched.worker.plan import Plan

EXIT_GAVE_UP = 1

PAUSES_S = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)
"""Before a poller's first, second, … restart in a row."""

HEALTHY_S = 10.0
"""A poller that lived this long starts its pauses anew when it dies."""

UNREADY_DEATHS_LIMIT = 5
"""So many deaths in a row before the poller was even connected: it will not get better by itself."""

SAME_REQUEST_S = 0.1
"""Signals this close together are one request: `timeout` signals the process and then its whole group."""

KILL_GRACE_S = 5.0
"""Beyond the shutdown timeout: a poller whose main thread still moves leaves by itself well before."""

HOUSEKEEPER_GRACE_S = 7.0

STALL_CHECK_S = 5.0

LONGEST_CALL_S = 25.0
"""What the housekeeper may take for one call: as long as its guard lets it, and to connect."""

REMEMBERED_ENDS = 100


class Stage(Enum):
    """Forward only."""

    RUNNING = "running"
    DRAINING = "draining"
    AT_ONCE = "at once"


@dataclass(slots=True)
class Child:
    """The place of one process: who is in it now, and when the next may be."""

    board: Board
    pid: int | None = None
    started_at: float = 0.0
    deaths: int = 0
    restart_at: float = 0.0

    @property
    def is_due(self) -> bool:
        return self.pid is None and self.restart_at <= monotonic()

    def clear_board(self) -> None:
        """For the next process: it has not had time to move yet."""
        self.board.clear()
        self.board.note(Moment.TURNED, monotonic())

    def note_start(self, pid: int) -> None:
        self.pid = pid
        self.started_at = monotonic()

    def has_stalled(self, longest_s: float) -> bool:
        """Whether its process stands still for longer than that."""
        return self.pid is not None and self.board.stalled_s(monotonic()) > longest_s

    def note_end(self, *, has_died: bool = True) -> None:
        self.pid = None
        if monotonic() - self.started_at > HEALTHY_S or not has_died:
            self.deaths = 0
        self.restart_at = monotonic() + PAUSES_S[min(self.deaths, len(PAUSES_S) - 1)]
        self.deaths += 1


@dataclass(slots=True)
class Slot(Child):
    """The place of one poller, with what it shares with others: that outlives the processes."""

    wake: Pipe = field(default_factory=new_pipe)
    ready: Pipe = field(default_factory=new_pipe)
    nursery: Sockets = field(default_factory=new_sockets)
    runners: set[int] = field(default_factory=set)
    identity: str = ""
    is_ready: bool = False


class Supervisor:
    """One worker."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._log = Logger()
        self._signals = Signals((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD))
        self._lifeline = new_pipe()
        self._slots = [Slot(Board(plan.concurrency)) for _ in range(plan.processes)]
        self._wills = Wills()
        self._orders: Pipe | None = None
        self._housekeeper = Child(Board(0))
        self._ended: list[Ended] = []
        self._killed: set[int] = set()
        self._turned_at = monotonic()
        self._stage = Stage.RUNNING
        self._stopping_since = 0.0
        self._kill_at = float("inf")
        self._unready_deaths = 0
        self._is_announced = False
        self._status = EXIT_OK

    def run(self) -> int:
        """Run the worker until it is told to stop; answers its exit status."""
        setproctitle(f"pgsched: worker {self._plan.worker_id}")
        plan = self._plan
        self._log.info(
            Event.WORKER_STARTED,
            worker=plan.worker_id,
            pid=os.getpid(),
            processes=plan.processes,
            tasks=sorted(plan.tasks),
        )
        while self._stage is Stage.RUNNING or self._has_pollers():
            self._start_missing()
            self._wait()
            self._kill_late()
            self._kill_stalled()
        self._end_housekeeper()
        self._log.info(Event.WORKER_STOPPED, worker=plan.worker_id, pid=os.getpid())
        return self._status

    def _has_pollers(self) -> bool:
        return any(slot.pid is not None for slot in self._slots)

    # Forking

    def _start_missing(self) -> None:
        if self._housekeeper.is_due:
            self._start_housekeeper()
        if self._stage is not Stage.RUNNING or self._orders is None:
            return
        for number, slot in enumerate(self._slots):
            if slot.is_due:
                self._start_poller(number, slot)

    def _start_housekeeper(self) -> None:
        if self._orders is not None:
            self._orders.close()
        orders = self._orders = new_pipe()
        roster = self._roster()
        household = Household(
            self._housekeeper.board,
            [slot.board for slot in self._slots],
            [slot.wake.writing for slot in self._slots],
            self._wills,
        )

        def main() -> int:
            return Housekeeper(self._plan, household, Orders(orders.reading, roster)).run()

        closing = (orders.writing, *self._lifeline)
        title = f"pgsched: housekeeper of {self._plan.worker_id}"
        self._housekeeper.clear_board()
        self._housekeeper.note_start(fork(title, main, closing=closing))

    def _start_poller(self, number: int, slot: Slot) -> None:
        identity = f"{self._plan.worker_id}/{number}-{secrets.token_hex(4)}"
        shared = Shared(
            slot.board,
            slot.nursery.poller,
            self._wills,
            wake=slot.wake.reading,
            lifeline=self._lifeline.reading,
            ready=slot.ready.writing,
        )

        def main() -> int:
            return Poller(self._plan, identity, number=number, shared=shared).run()

        assert self._orders is not None
        closing = (self._lifeline.writing, *self._orders)
        slot.clear_board()
        slot.note_start(fork(f"pgsched: poller {identity}", main, closing=closing))
        slot.identity = identity
        slot.is_ready = False
        self._tell_housekeeper()

    def _start_runner(self, slot: Slot) -> None:
        """One run wants a process of its own."""
        try:
            _, ends, _, _ = socket.recv_fds(slot.nursery.supervisor, 16, 1)
        except BlockingIOError:
            return
        [end] = ends
        parent = os.getpid()

        def main() -> int:
            return run_errand(self._plan, slot.board, end, supervisor=parent)

        assert self._orders is not None
        closing = (self._lifeline.writing, *self._orders)
        slot.runners.add(fork(f"pgsched: runner of {slot.identity}", main, closing=closing))
        os.close(end)

    def _end_runners(self, slot: Slot) -> None:
        """Before anybody may take what they run: nobody is left whom they could answer."""
        for pid in slot.runners:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        slot.runners.clear()

    def _roster(self) -> Roster:
        members = tuple(
            Member(slot.identity, slot.pid, number)
            for number, slot in enumerate(self._slots)
            if slot.pid is not None
        )
        return Roster(members, tuple(self._ended))

    def _tell_housekeeper(self) -> None:
        """Where it doesn't listen, its successor is forked with the roster of that moment."""
        assert self._orders is not None
        if not self._roster().tell(self._orders.writing) and self._housekeeper.pid is not None:
            os.kill(self._housekeeper.pid, signal.SIGKILL)

    # Watching

    def _wait(self) -> None:
        ready_pipes = {slot.ready.reading: slot for slot in self._slots}
        nurseries = {slot.nursery.supervisor.fileno(): slot for slot in self._slots}
        ends = [self._signals.bell.fileno(), *ready_pipes, *nurseries]
        ready = readable(ends, self._wait_s())
        for end in ready & ready_pipes.keys():
            drained(end)
            self._note_ready(ready_pipes[end])
        for end in ready & nurseries.keys():
            self._start_runner(nurseries[end])
        for received in self._signals.received():
            if received is not signal.SIGCHLD:
                self._obey(received)
        self._reap()

    def _note_ready(self, slot: Slot) -> None:
        slot.is_ready = True
        self._unready_deaths = 0
        if not self._is_announced and all(each.is_ready for each in self._slots):
            self._is_announced = True
            notify(f"READY=1\nSTATUS={len(self._slots)} pollers, {len(self._plan.tasks)} tasks")

    def _wait_s(self) -> float:
        waits = [self._kill_at - monotonic(), STALL_CHECK_S]
        if self._stage is Stage.RUNNING:
            children = (self._housekeeper, *self._slots)
            waits += [child.restart_at - monotonic() for child in children if child.pid is None]
        return max(0.0, min(waits))

    def _reap(self) -> None:
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._note_end(pid, os.waitstatus_to_exitcode(wait_status))

    def _note_end(self, pid: int, status: int) -> None:
        if pid == self._housekeeper.pid:
            self._housekeeper.note_end()
            self._log.error(Event.HOUSEKEEPER_DIED, pid=pid, status=status_word(status))
            return
        for slot in self._slots:
            if slot.pid == pid:
                self._note_poller_end(slot, status)
            elif pid in slot.runners:
                slot.runners.discard(pid)
                with suppress(OSError):  # its poller is gone, or doesn't care any more
                    slot.nursery.supervisor.send(DEATH.pack(pid, status))

    def _note_poller_end(self, slot: Slot, status: int) -> None:
        pid = slot.pid
        end = End.IN_ORDER if slot.board.last(Moment.LEFT) > -math.inf else End.DIED
        end = End.KILLED if pid in self._killed else end
        slot.note_end(has_died=end is End.DIED)
        self._end_runners(slot)
        traces = slot.board.traces if end is End.DIED else ()
        self._ended = [*self._ended, Ended(slot.identity, end, traces, status_word(status))]
        self._ended = self._ended[-REMEMBERED_ENDS:]
        self._tell_housekeeper()
        if end is End.DIED:
            self._log.error(
                Event.POLLER_DIED, poller=slot.identity, pid=pid, status=status_word(status)
            )
            if not slot.is_ready:
                self._note_unready_death()

    def _note_unready_death(self) -> None:
        self._unready_deaths += 1
        if self._stage is Stage.RUNNING and self._unready_deaths >= UNREADY_DEATHS_LIMIT:
            self._give_up()

    def _give_up(self) -> None:
        self._log.error(
            Event.WORKER_GAVE_UP, worker=self._plan.worker_id, deaths=self._unready_deaths
        )
        self._stop(DRAIN)
        self._status = EXIT_GAVE_UP

    # Stopping

    def _obey(self, received: signal.Signals) -> None:
        """The first signal drains, a second ends at once (and SIGQUIT does so right away)."""
        if self._stage is not Stage.RUNNING and monotonic() - self._stopping_since < SAME_REQUEST_S:
            return
        at_once = received is signal.SIGQUIT or self._stage is not Stage.RUNNING
        self._log.info(Event.WORKER_STOPPING, signal=received.name, at_once=at_once)
        self._stop(AT_ONCE if at_once else DRAIN)
        if at_once:
            self._status = EXIT_AT_ONCE

    def _stop(self, how: signal.Signals) -> None:
        self._stage = Stage.AT_ONCE if how is AT_ONCE else Stage.DRAINING
        self._stopping_since = monotonic()
        notify("STOPPING=1")
        grace_s = KILL_GRACE_S
        if how is DRAIN:
            grace_s += self._plan.shutdown_timeout.total_seconds()
        self._kill_at = monotonic() + grace_s
        for slot in self._slots:
            if slot.pid is not None:
                os.kill(slot.pid, how)

    def _kill_late(self) -> None:
        """A poller that does not leave in time hangs: what it held is handed back, as nothing of it is left to run."""
        if monotonic() < self._kill_at:
            return
        self._kill_at = float("inf")
        for slot in self._slots:
            if slot.pid is not None:
                self._killed.add(slot.pid)
                os.kill(slot.pid, signal.SIGKILL)
                self._log.error(Event.POLLER_KILLED, poller=slot.identity, pid=slot.pid)

    def _kill_stalled(self) -> None:
        """Who stands still is of no use: what a poller ran is suspected, and runs alone the next time."""
        if self._has_stood_still():
            return
        if self._housekeeper.has_stalled(self._patience_s):
            pid = self._housekeeper.pid
            self._log.error(Event.HOUSEKEEPER_KILLED, pid=pid, reason="stalled")
            _kill_stalled(self._housekeeper)
        for slot in self._slots:
            if slot.has_stalled(self._plan.stall_timeout.total_seconds()):
                facts = {"poller": slot.identity, "pid": slot.pid}
                self._log.error(Event.POLLER_KILLED, **facts, reason="stalled")
                _kill_stalled(slot)

    def _has_stood_still(self) -> bool:
        """All of us may have been stopped (a paused container): then the others need a moment, as we did."""
        last_turn, self._turned_at = self._turned_at, monotonic()
        if self._turned_at - last_turn < 2 * STALL_CHECK_S:
            return False
        for child in (self._housekeeper, *self._slots):
            child.board.note(Moment.TURNED, self._turned_at)
        return True

    @property
    def _patience_s(self) -> float:
        """Before others may call this worker dead, but longer than one call to the database may take."""
        quarter = self._plan.heartbeat_timeout / 4
        return max(LONGEST_CALL_S, min(self._plan.stall_timeout, quarter).total_seconds())

    def _end_housekeeper(self) -> None:
        """Closing its orders ends it, once it has handed on what the pollers left."""
        if self._orders is not None:
            os.close(self._orders.writing)
        housekeeper = self._housekeeper.pid
        if housekeeper is None:
            return
        deadline = monotonic() + HOUSEKEEPER_GRACE_S
        while monotonic() < deadline:
            readable([self._signals.bell.fileno()], deadline - monotonic())
            self._signals.received()
            if os.waitpid(housekeeper, os.WNOHANG)[0]:
                return
        os.kill(housekeeper, signal.SIGKILL)
        os.waitpid(housekeeper, 0)


def _kill_stalled(child: Child) -> None:
    assert child.pid is not None
    child.board.note(Moment.TURNED, monotonic())
    os.kill(child.pid, signal.SIGKILL)


def run_plan(plan: Plan) -> int:
    """Check the database, then run the worker. Raises: DatabaseUnavailable, SchemaMismatch, before anything runs."""
    preflight(plan)
    sys.stdout.flush()
    sys.stderr.flush()
    gc.collect()
    gc.freeze()  # what is loaded now stays shared with the forks
    return Supervisor(plan).run()
