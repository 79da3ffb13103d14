"""The parent of a worker's processes: forks, watches, restarts, passes signals on. A reload makes another one.

Holds no connection, ever, so that each later fork is as clean as the first; never sees an execution. What pollers
leave behind when they die is handed on by the housekeeper, to which it keeps telling who is there.
"""

from __future__ import annotations

import gc
import math
import os
import select
import signal
import sys
from enum import Enum
from typing import TYPE_CHECKING

from setproctitle import setproctitle

from pgsched.domain.presence import DRAINING
from pgsched.log import Event, Logger
from pgsched.worker.announcing import Announcer
from pgsched.worker.board import Moment
from pgsched.worker.child import Slot
from pgsched.worker.clock import monotonic
from pgsched.worker.family import Family
from pgsched.worker.generation import RETIRE as RETIRE_ORDER
from pgsched.worker.generation import WORK
from pgsched.worker.notify import notify
from pgsched.worker.preflight import preflight
from pgsched.worker.process import (
    AT_ONCE,
    DRAIN,
    EXIT_AT_ONCE,
    EXIT_OK,
    RETIRE,
    Signals,
    resident_bytes,
    status_word,
)
from pgsched.worker.roster import End, Ended
from pgsched.worker.stalls import Stalls
from pgsched.worker.succession import Succession
from pgsched.worker.surroundings import in_touch_for_s
from pgsched.worker.terminal import EarlyHangUp, Terminal
from pgsched.worker.wakeup import drained, stirred

if TYPE_CHECKING:
    from pgsched.worker.generation import Predecessor
    from pgsched.worker.plan import Plan
    from pgsched.worker.succession import EndedGeneration

EXIT_GAVE_UP = 1

UNREADY_DEATHS_LIMIT = 5
"""So many deaths in a row before the poller was even connected: it will not get better by itself."""

SAME_REQUEST_S = 0.1
"""Signals this close together are one request: `timeout` signals the process and then its whole group."""

KILL_GRACE_S = 5.0
"""Beyond the shutdown timeout: a poller whose main thread still moves leaves by itself well before."""


class Stage(Enum):
    """Forward only."""

    RUNNING = "running"
    RETIRED = "retired"
    """Another generation works in its place; what runs may take its time."""
    DRAINING = "draining"
    AT_ONCE = "at once"


class Supervisor:
    """One worker, or one generation of it: `predecessor` is the main process then, whose orders are obeyed."""

    def __init__(self, plan: Plan, predecessor: Predecessor | None = None) -> None:
        self._plan = plan
        self._log = Logger()
        self._predecessor = predecessor
        self._succession = Succession()
        self._terminal = Terminal()
        self._signals = _signals(is_main=predecessor is None)
        self._family = Family(plan, lambda: self._succession.ends)
        self._slots = self._family.slots
        self._reporting = self._family.reporting
        self._announcer = Announcer(
            plan, self._slots, notify if predecessor is None else predecessor.tell
        )
        self._killed: set[int] = set()
        self._stalled: set[int] = set()
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
        self._announcer.note_starting()
        if self._predecessor is None:
            self._reporting.begin()
        while (
            self._stage is Stage.RUNNING or self._family.has_pollers or not self._succession.is_over
        ):
            self._turn()
        self._family.end()
        self._log.info(Event.WORKER_STOPPED, worker=plan.worker_id, pid=os.getpid())
        return self._status

    def _turn(self) -> None:
        self._reporting.note_turn()
        self._terminal.look()
        self._family.start_others()
        if self._stage is Stage.RUNNING:
            self._family.start_pollers()
        self._wait()
        self._end_what_is_out_of_touch()
        self._kill_late()
        self._kill_stalled()
        self._succession.check_time()
        if not self._succession.has_current:
            self._announcer.turn(self._family.housekeeper)
        if self._stage is not Stage.RUNNING and not self._family.has_pollers:
            self._family.dismiss_housekeeper()

    def _warn_of_low_limit(self) -> None:
        most = self._plan.max_memory_per_process
        if most is not None and (resident := resident_bytes()) > most:
            key, resident_mb = "worker.max_memory_per_process", resident // 10**6
            self._log.warning(
                Event.LIMIT_TOO_LOW, key=key, limit_mb=most // 10**6, resident_mb=resident_mb
            )

    # Watching

    def _wait(self) -> None:
        ready_pipes = {slot.ready.reading: slot for slot in self._slots}
        stirring = stirred(self._ends | dict.fromkeys(ready_pipes, select.POLLIN), self._wait_s())
        for end in stirring & ready_pipes.keys():
            drained(end)
            self._note_ready(ready_pipes[end])
        for slot in self._slots:
            slot.runners.end_abandoned(stirring)
            if request := slot.runners.next_request():
                self._family.start_runner(slot, request)
        self._listen(stirring)
        self._reap()

    @property
    def _ends(self) -> dict[int, int]:
        """What to wait for besides pollers that become ready."""
        ends = dict.fromkeys([self._signals.bell.fileno(), *self._succession.ends], select.POLLIN)
        if self._predecessor is not None:
            ends[self._predecessor.fileno()] = select.POLLIN
        for slot in self._slots:
            ends |= slot.runners.ends
        return ends

    def _listen(self, stirring: set[int]) -> None:
        """To signals, to the predecessor, and to the other generations."""
        for received in self._signals.received():
            if received is signal.SIGHUP:
                self._reload()
            elif received is not signal.SIGCHLD:
                self._obey(received)
        if self._predecessor is not None and self._predecessor.fileno() in stirring:
            self._take_orders(self._predecessor)
        if self._succession.listen(stirring):
            self._retire()
            self._succession.let_work()

    def _note_ready(self, slot: Slot) -> None:
        slot.is_ready = True
        self._unready_deaths = 0
        if not self._is_announced and all(each.is_ready for each in self._slots):
            self._is_announced = True
            self._announcer.note_ready()

    def _wait_s(self) -> float:
        waits = [self._kill_at - monotonic(), self._stalls.ask_in_s]
        waits += [self._succession.wait_s, self._announcer.wait_s]
        waits += [
            in_touch_for_s(self._plan, slot.board)
            for slot in self._slots
            if slot.pid is not None and not slot.is_out_of_touch
        ]
        if self._stage is Stage.RUNNING:
            waits.append(self._family.start_in_s)
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
        if pid == self._family.housekeeper.pid:
            self._family.housekeeper.note_end()
            if self._family.is_dismissed:
                return
            self._log.error(Event.HOUSEKEEPER_DIED, pid=pid, status=status_word(status))
            return
        if pid == self._reporting.reporter.pid:
            self._reporting.reporter.note_end()
            self._log.error(Event.REPORTER_DIED, pid=pid, status=status_word(status))
            return
        if self._family.upkeep.note_end(pid):
            return
        if ended := self._succession.note_end(pid, status):
            self._note_successor_end(ended, pid)
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
        if self._stage is Stage.RUNNING:
            self._reporting.note_replaced(End.KILLED if pid in self._stalled else end)
        slot.note_end(has_died=end is End.DIED)
        slot.runners.end_all()
        traces = slot.board.traces if end is End.DIED else ()
        self._family.tell_housekeeper(Ended(slot.identity, end, traces, status_word(status)))
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

    # Reloading

    def _reload(self) -> None:
        """Start another generation, which reads code and config anew. Goes on as before until that one is ready."""
        if self._terminal.is_closing:
            self._obey(signal.SIGHUP)
        elif not self._is_stopping:
            self._succession.begin()

    def _retire(self) -> None:
        """Another generation is ready. What runs here ends in its own time, if nobody asks the worker to stop."""
        if self._stage is not Stage.RUNNING:
            return
        self._stage = Stage.RETIRED
        self._reporting.end()
        self._family.upkeep.stop()
        self._family.signal_pollers(RETIRE)
        self._family.state = DRAINING
        self._family.tell_housekeeper()

    def _take_orders(self, predecessor: Predecessor) -> None:
        try:
            orders = predecessor.heard()
        except EOFError:
            self._log.warning(Event.WORKER_ORPHANED, worker=self._plan.worker_id, pid=os.getpid())
            predecessor.close()
            self._predecessor = None
            self._stop(DRAIN)
            return
        for order in orders:
            if order == WORK:
                self._reporting.begin()
            elif order == RETIRE_ORDER:
                self._retire()
            else:
                self._obey(signal.Signals[order])

    def _note_successor_end(self, ended: EndedGeneration, pid: int) -> None:
        """Where the one that works has ended unasked, so does the worker: whoever started it starts it again.

        Why one never worked has been told as the reason of its refusal.
        """
        if ended.has_worked and ended.status and not self._is_stopping:
            self._log.error(Event.SUPERVISOR_DIED, pid=pid, status=status_word(ended.status))
        if ended.was_current and not self._is_stopping:
            self._stop(DRAIN)
            self._status = EXIT_GAVE_UP
        elif ended.was_current and ended.status:
            self._status = EXIT_AT_ONCE

    # Stopping

    @property
    def _is_stopping(self) -> bool:
        return self._stage in {Stage.DRAINING, Stage.AT_ONCE}

    def _obey(self, received: signal.Signals) -> None:
        """The first signal drains, a second ends at once (and SIGQUIT does so right away)."""
        is_quit = received is signal.SIGQUIT
        is_soon = monotonic() - self._stopping_since < SAME_REQUEST_S
        if self._is_stopping and is_soon and not is_quit:
            return
        at_once = is_quit or self._is_stopping
        self._log.info(Event.WORKER_STOPPING, signal=received.name, at_once=at_once)
        self._stop(AT_ONCE if at_once else DRAIN)
        if at_once:
            self._status = EXIT_AT_ONCE

    def _stop(self, how: signal.Signals) -> None:
        self._stage = Stage.AT_ONCE if how is AT_ONCE else Stage.DRAINING
        self._stopping_since = monotonic()
        self._family.upkeep.stop()
        self._reporting.note_stopping()
        self._succession.stop(signal.SIGQUIT if how is AT_ONCE else signal.SIGTERM)
        grace_s = KILL_GRACE_S
        if how is DRAIN:
            grace_s += self._plan.shutdown_timeout.total_seconds()
        self._kill_at = monotonic() + grace_s
        self._announcer.note_stopping(self._kill_at)
        self._family.signal_pollers(how)
        self._family.state = DRAINING
        self._family.tell_housekeeper()

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
        reporter = self._reporting.reporter
        for child in self._stalls.found((self._family.housekeeper, reporter), self._slots):
            assert child.pid is not None
            self._stalled.add(child.pid)
            facts = {"pid": child.pid, "reason": "stalled"}
            if isinstance(child, Slot):
                self._log.error(Event.POLLER_KILLED, poller=child.identity, **facts)
            elif child is reporter:
                self._log.error(Event.REPORTER_KILLED, **facts)
            else:
                self._log.error(Event.HOUSEKEEPER_KILLED, **facts)
            os.kill(child.pid, signal.SIGKILL)


def _signals(*, is_main: bool) -> Signals:
    """Only the main process heeds those that may come to the whole group; the others hear it from that one."""
    asked = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    if not is_main:
        return Signals((signal.SIGCHLD,), ignored=(*asked, signal.SIGHUP))
    former = signal.getsignal(signal.SIGHUP)
    if former is signal.SIG_IGN:  # nohup
        return Signals((*asked, signal.SIGCHLD))
    signals = Signals((*asked, signal.SIGHUP, signal.SIGCHLD))
    if isinstance(former, EarlyHangUp) and former.is_remembered:
        signal.raise_signal(signal.SIGHUP)
    return signals


def run_plan(plan: Plan, predecessor: Predecessor | None = None) -> int:
    """Check the database, then run the worker. Raises: DatabaseUnavailable, SchemaMismatch, before anything runs."""
    preflight(plan)
    sys.stdout.flush()
    sys.stderr.flush()
    gc.collect()
    gc.freeze()  # what is loaded now stays shared with the forks
    return Supervisor(plan, predecessor).run()
