"""The parent of a worker's processes: forks, watches, restarts, passes signals on.

Holds no connection, ever, so that each later fork is as clean as the first; never sees an execution. What pollers
leave behind when they die is handed on by the housekeeper, to which it keeps telling who is there.
"""

from __future__ import annotations

import gc
import math
import os
import secrets
import select
import signal
import sys
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from setproctitle import setproctitle

from pgsched.log import Event, Logger
from pgsched.worker.board import Board, Moment
from pgsched.worker.child import Child, Slot
from pgsched.worker.clock import monotonic
from pgsched.worker.housekeeper import Household, Housekeeper
from pgsched.worker.notify import notify
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
    resident_bytes,
    status_word,
)
from pgsched.worker.roster import End, Ended, Member, Orders, Roster
from pgsched.worker.runner import run_errand
from pgsched.worker.stalls import Stalls
from pgsched.worker.surroundings import in_touch_for_s
from pgsched.worker.wakeup import drained, readable, stirred
from pgsched.worker.wills import Wills

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgsched.worker.plan import Plan
    from pgsched.worker.runners import Request

EXIT_GAVE_UP = 1

UNREADY_DEATHS_LIMIT = 5
"""So many deaths in a row before the poller was even connected: it will not get better by itself."""

SAME_REQUEST_S = 0.1
"""Signals this close together are one request: `timeout` signals the process and then its whole group."""

KILL_GRACE_S = 5.0
"""Beyond the shutdown timeout: a poller whose main thread still moves leaves by itself well before."""

HOUSEKEEPER_GRACE_S = 7.0


class Stage(Enum):
    """Forward only."""

    RUNNING = "running"
    DRAINING = "draining"
    AT_ONCE = "at once"


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
        self._roster = Roster()
        self._killed: set[int] = set()
        self._stalls = Stalls(plan)
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
        self._warn_of_low_limit()
        while self._stage is Stage.RUNNING or self._has_pollers():
            self._start_missing()
            self._wait()
            self._end_what_is_out_of_touch()
            self._kill_late()
            self._kill_stalled()
        self._end_housekeeper()
        self._log.info(Event.WORKER_STOPPED, worker=plan.worker_id, pid=os.getpid())
        return self._status

    def _warn_of_low_limit(self) -> None:
        most = self._plan.max_memory_per_process
        if most is not None and (resident := resident_bytes()) > most:
            key, resident_mb = "worker.max_memory_per_process", resident // 10**6
            self._log.warning(
                Event.LIMIT_TOO_LOW, key=key, limit_mb=most // 10**6, resident_mb=resident_mb
            )

    def _has_pollers(self) -> bool:
        return any(slot.pid is not None for slot in self._slots)

    # Forking

    def _start_missing(self) -> None:
        if self._housekeeper.is_due:
            self._try_to_start(self._housekeeper, self._start_housekeeper)
        if self._stage is not Stage.RUNNING or self._orders is None:
            return
        for number, slot in enumerate(self._slots):
            if slot.is_due:
                self._try_to_start(slot, partial(self._start_poller, number, slot))

    def _try_to_start(self, child: Child, start: Callable[[], None]) -> None:
        """A machine that has no process or descriptor to spare now may have one soon."""
        try:
            start()
        except OSError as error:
            child.note_failed_start()
            self._log.error(Event.FORK_FAILED, error=str(error))

    def _start_housekeeper(self) -> None:
        orders, roster = new_pipe(), self._roster
        if self._orders is not None:
            self._orders.close()
        self._orders = orders
        household = Household(
            self._housekeeper.board,
            [slot.board for slot in self._slots],
            [slot.wake.writing for slot in self._slots],
            self._wills,
        )

        def main() -> int:
            return Housekeeper(self._plan, household, Orders(orders.reading, roster)).run()

        closing = (orders.writing, *self._lifeline, *self._runners_ends)
        title = f"pgsched: housekeeper of {self._plan.worker_id}"
        self._housekeeper.clear_board()
        self._housekeeper.note_start(fork(title, main, closing=closing))

    def _start_poller(self, number: int, slot: Slot) -> None:
        identity = f"{self._plan.worker_id}/{number}-{secrets.token_hex(4)}"
        shared = Shared(
            slot.board,
            slot.runners.asking_end,
            self._wills,
            wake=slot.wake.reading,
            lifeline=self._lifeline.reading,
            ready=slot.ready.writing,
        )

        def main() -> int:
            return Poller(self._plan, identity, number=number, shared=shared).run()

        slot.clear_board()
        slot.note_start(fork(f"pgsched: poller {identity}", main, closing=self._private_ends))
        slot.identity = identity
        slot.is_ready = False
        self._tell_housekeeper()

    def _start_runner(self, slot: Slot, request: Request) -> None:
        """One run wants a process of its own."""
        parent = os.getpid()

        def main() -> int:
            return run_errand(self._plan, slot.board, request.channel, supervisor=parent)

        title = f"pgsched: runner of {slot.identity}"
        try:
            slot.runners.start(request, lambda: fork(title, main, closing=self._private_ends))
        except OSError as error:
            self._log.error(Event.FORK_FAILED, poller=slot.identity, error=str(error))

    @property
    def _runners_ends(self) -> tuple[int, ...]:
        return tuple(end for slot in self._slots for end in slot.runners.descriptors)

    @property
    def _private_ends(self) -> tuple[int, ...]:
        """What the supervisor keeps for itself: its death must show."""
        assert self._orders is not None
        return (self._lifeline.writing, *self._orders, *self._runners_ends)

    def _tell_housekeeper(self, *ended: Ended) -> None:
        """Where it doesn't listen, its successor is forked with the whole roster of that moment."""
        assert self._orders is not None
        members = tuple(
            Member(slot.identity, slot.pid, number)
            for number, slot in enumerate(self._slots)
            if slot.pid is not None
        )
        news = Roster(members, ended)
        self._roster = self._roster.followed_by(news)
        if not news.tell(self._orders.writing) and self._housekeeper.pid is not None:
            os.kill(self._housekeeper.pid, signal.SIGKILL)

    # Watching

    def _wait(self) -> None:
        ready_pipes = {slot.ready.reading: slot for slot in self._slots}
        ends = dict.fromkeys([self._signals.bell.fileno(), *ready_pipes], select.POLLIN)
        for slot in self._slots:
            ends |= slot.runners.ends
        stirring = stirred(ends, self._wait_s())
        for end in stirring & ready_pipes.keys():
            drained(end)
            self._note_ready(ready_pipes[end])
        for slot in self._slots:
            slot.runners.end_abandoned(stirring)
            if request := slot.runners.next_request():
                self._start_runner(slot, request)
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
        waits = [self._kill_at - monotonic(), self._stalls.ask_in_s]
        waits += [
            in_touch_for_s(self._plan, slot.board)
            for slot in self._slots
            if slot.pid is not None and not slot.is_out_of_touch
        ]
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
            else:
                slot.runners.note_end(pid, status)

    def _note_poller_end(self, slot: Slot, status: int) -> None:
        pid = slot.pid
        end = End.IN_ORDER if slot.board.last(Moment.LEFT) > -math.inf else End.DIED
        end = End.KILLED if pid in self._killed else end
        slot.note_end(has_died=end is End.DIED)
        slot.runners.end_all()
        traces = slot.board.traces if end is End.DIED else ()
        self._tell_housekeeper(Ended(slot.identity, end, traces, status_word(status)))
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

    def _end_what_is_out_of_touch(self) -> None:
        """Whether its poller moves or not: it may be stopped, and what must never overlap be run elsewhere soon."""
        for slot in self._slots:
            is_out = slot.pid is not None and in_touch_for_s(self._plan, slot.board) <= 0
            if is_out and not slot.is_out_of_touch:
                self._log.warning(Event.POLLER_OUT_OF_TOUCH, poller=slot.identity, pid=slot.pid)
            slot.is_out_of_touch = is_out
            if is_out:
                slot.runners.end_what_never_overlaps()

    def _kill_stalled(self) -> None:
        """Who stands still is of no use: what a poller ran is suspected, and runs alone the next time."""
        for child in self._stalls.found(self._housekeeper, self._slots):
            assert child.pid is not None
            facts = {"pid": child.pid, "reason": "stalled"}
            if isinstance(child, Slot):
                self._log.error(Event.POLLER_KILLED, poller=child.identity, **facts)
            else:
                self._log.error(Event.HOUSEKEEPER_KILLED, **facts)
            os.kill(child.pid, signal.SIGKILL)

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


def run_plan(plan: Plan) -> int:
    """Check the database, then run the worker. Raises: DatabaseUnavailable, SchemaMismatch, before anything runs."""
    preflight(plan)
    sys.stdout.flush()
    sys.stderr.flush()
    gc.collect()
    gc.freeze()  # what is loaded now stays shared with the forks
    return Supervisor(plan).run()
