"""Beats for what this worker's pollers hold, recovers what is dead, hears notifications and looks unasked for all.

A process of its own beside the pollers (decisions/001): a task that holds the GIL, blocks an event loop or kills its
process can't stop it. Runs no user code. It must not beat for a poller that is itself gone or stopped, or a frozen
one would look alive for ever.
"""

from __future__ import annotations

import math
import os
import signal
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from pgsched.domain.instant import iso
from pgsched.errors import DatabaseUnavailable, InvalidData
from pgsched.log import Event, Logger
from pgsched.store.listening import NO_PRIORITY, Hint
from pgsched.store.liveness import beat, names_of, server_uptime
from pgsched.store.picking import overdue_unknown, survey
from pgsched.store.session import Session
from pgsched.worker.board import Moment
from pgsched.worker.clock import Clock, monotonic
from pgsched.worker.guard import Guard
from pgsched.worker.hearing import Hearing
from pgsched.worker.metrics import LISTENER_UP, RESIDENT
from pgsched.worker.outage import Outage
from pgsched.worker.process import EXIT_OK, Signals, is_moving, is_there, resident_bytes
from pgsched.worker.recovery import Recovery
from pgsched.worker.register import Register
from pgsched.worker.roster import End, Ended
from pgsched.worker.timer import Timer
from pgsched.worker.wakeup import ALL_QUIET, HINT, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgsched.store.picking import Marks
    from pgsched.worker.board import Board
    from pgsched.worker.plan import Plan
    from pgsched.worker.roster import Member, Orders
    from pgsched.worker.tally import Tally
    from pgsched.worker.wills import Wills

LONGEST_SWEEP_S = 30.0
"""A dead execution is found this long after its heartbeat timeout, at worst."""

STALL_CHECK_S = 5.0
STALLED_S = 10.0
"""A poller's loop makes a turn every few seconds, whatever there is to do."""

UNKNOWN_CHECK_S = 60.0
OVERDUE = timedelta(minutes=1)
"""What another worker knows is run long before."""

YOUNG_SERVER_S = 60.0
SETTLING_S = 5.0
"""After an outage every live worker beats as soon as it is back; until then nobody may be called dead."""

SETTLING_INTERVALS = 1.5
"""And everybody has beaten once more after an interval, some of them at its very end."""

LAST_WORDS_S = 5.0
"""How long recoveries may still be tried when the worker ends."""


class Household(NamedTuple):
    """What a housekeeper shares with its supervisor and the pollers: made before the first fork."""

    board: Board
    boards: Sequence[Board]
    wake_pipes: Sequence[int]
    wills: Wills
    started_at: float
    tally: Tally | None = None


class Housekeeper:
    """The loop of one worker's housekeeper."""

    def __init__(self, plan: Plan, household: Household, orders: Orders) -> None:
        self._plan = plan
        self._board = household.board
        self._boards = household.boards
        self._tally = household.tally
        self._wake_pipes = household.wake_pipes
        self._orders = orders
        self._orphans: tuple[Ended, ...] | None = None
        self._gives_up_at = float("inf")
        self._log = Logger()
        # It ends when its supervisor says so, after the last poller: a signal to the whole group must not end it.
        ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
        self._signals = Signals((), ignored=ignored)
        self._session = Session(plan.database, f"pgsched {plan.worker_id}/housekeeper", Guard())
        self._outage = Outage(Logger(connection="housekeeper"))
        self._hearing = Hearing(plan.database, f"pgsched {plan.worker_id}/listener")
        self._register = Register(plan, self._boards, household.started_at, self._log)
        self._clock = Clock()
        self._has_clock = False
        self._recovery = Recovery(
            plan, self._session, household.wills, self._clock, household.tally, self._log
        )
        interval_s = plan.heartbeat_interval.total_seconds()
        self._beat = Timer(interval_s)
        self._sweep = Timer(min(interval_s, LONGEST_SWEEP_S))
        self._stall_check = Timer(STALL_CHECK_S)
        self._told_stalled: set[str] = set()
        self._unknown_check = Timer(UNKNOWN_CHECK_S)
        self._told_unknown: set[str] = set()
        self._memory = Timer(STALL_CHECK_S)
        self._look = Timer(plan.polling_interval.total_seconds())
        self._look.restart()
        self._has_seen_server = False

    def run(self) -> int:
        """Run until the supervisor has closed the orders and nothing is left to hand on."""
        self._log.info(Event.HOUSEKEEPER_STARTED, pid=os.getpid())
        while not self._is_done():
            self._wait()
            if not self._outage.wait_s:
                self._talk()
            self._wake_pollers(self._hearing.hear())
            self._tell()
            self._board.note(Moment.TURNED, monotonic())
        if not self._outage.is_on:
            self._register.leave(self._session)
        return EXIT_OK

    def _tell(self) -> None:
        if self._tally is None:
            return
        if not self._plan.database.is_pooled:
            self._tally.note(self._hearing.is_up, LISTENER_UP)
        if not self._memory.wait_s:
            self._memory.restart()
            self._tally.note(resident_bytes(), RESIDENT, "housekeeper")

    def _is_done(self) -> bool:
        if self._orphans is None:
            return False
        if monotonic() > self._gives_up_at:
            return True
        is_alone = not any(is_there(member.pid) for member in self._orders.roster.members)
        return is_alone and self._recovery.is_done(self._ended)

    def _wait(self) -> None:
        ready = readable(self._orders.ends + self._hearing.ends, self._wait_s())
        if ready.intersection(self._orders.ends):
            self._orders.take()
        if self._orders.are_over and self._orphans is None:
            self._note_end()

    def _wait_s(self) -> float:
        waits = [self._hearing.wait_s]
        if self._outage.is_on:
            waits.append(self._outage.wait_s)  # nothing else is done meanwhile, due or not
        else:
            waits += [self._beat.wait_s, self._sweep.wait_s, self._look.wait_s]
            waits += [self._stall_check.wait_s, self._unknown_check.wait_s]
            waits.append(self._recovery.wait_s(self._ended))
            waits.append(self._register.wait_s(self._orders.roster))
        if self._orders.are_over:
            waits.append(0.1)
        return min(waits)

    def _note_end(self) -> None:
        """No more orders: the supervisor is done, or gone. Pollers that outlive it are beaten for while they drain,
        and count as ended by it.
        """
        drain_s = self._plan.shutdown_timeout.total_seconds() if self._living() else 0.0
        self._gives_up_at = monotonic() + drain_s + LAST_WORDS_S
        members = self._orders.roster.members
        self._orphans = tuple(Ended(member.identity, End.KILLED) for member in members)

    @property
    def _ended(self) -> tuple[Ended, ...]:
        return self._orders.roster.ended + (self._orphans or ())

    def _talk(self) -> None:
        try:
            self._when_due(self._beat, self._beat_for_living)  # first: nothing may keep it back
            if self._outage.note_answered():
                self._settle()
            self._recovery.hand_on(self._ended, self._present())
            self._when_due(self._sweep, self._recover_dead)
            self._when_due(self._look, self._look_for_all)
            self._when_due(self._stall_check, self._name_stalled)
            self._when_due(self._unknown_check, self._name_unknown)
            self._say_how_it_does()
        except (DatabaseUnavailable, InvalidData) as error:
            self._session.close()
            self._outage.note_lost(error)
            self._beat.restart(0.0)

    def _when_due(self, timer: Timer, work: Callable[[], None]) -> None:
        if not timer.wait_s:
            timer.restart()
            work()

    def _say_how_it_does(self) -> None:
        roster = self._orders.roster
        if self._has_clock and not self._register.wait_s(roster):
            is_listening = self._hearing.is_listening
            self._register.write(self._session, roster, self._clock, hears=is_listening)

    def _look_for_all(self) -> None:
        """The safety net, for what nobody notified of: one look for all pollers, who make it themselves without it."""
        found = self._session.run(survey(list(self._plan.tasks)))
        coming_s = math.inf if found.coming_s is None else found.coming_s
        quiet = [Hint(coming_s, ALL_QUIET)]
        self._wake_pollers(_places(found.marks) if found.is_any_due else quiet)

    def _wake_pollers(self, hints: list[Hint]) -> None:
        packed = b"".join(HINT.pack(*hint) for hint in hints)
        for pipe in self._wake_pipes if packed else ():
            with suppress(BlockingIOError):  # it has plenty to wake up for
                os.write(pipe, packed)

    # Beats and recoveries

    def _living(self) -> list[Member]:
        return [member for member in self._orders.roster.members if is_moving(member.pid)]

    def _present(self) -> set[str]:
        """Whose executions may still be run: a stopped process may go on at any time."""
        members = self._orders.roster.members
        return {member.identity for member in members if is_there(member.pid)}

    def _beat_for_living(self) -> None:
        living = self._living()
        beaten_at = monotonic()
        beaten = self._session.run(beat([member.identity for member in living]))
        for member in living:
            self._boards[member.number].note(Moment.IN_TOUCH, beaten_at)
        if self._has_clock and self._has_jumped(beaten.at - self._clock.at(beaten_at)):
            self._log.warning(Event.CLOCK_JUMPED, database_now=iso(beaten.at))
            self._settle()
        self._has_clock = True
        self._clock.observe(beaten.at, beaten_at)

    def _has_jumped(self, by: timedelta) -> bool:
        return abs(by) > self._plan.heartbeat_timeout / 4

    def _settle(self) -> None:
        """Everybody looks silent for as long: who is alive shows after one interval of beats at the latest."""
        interval_s = self._plan.heartbeat_interval.total_seconds()
        self._sweep.restart(max(SETTLING_S, SETTLING_INTERVALS * interval_s))

    def _recover_dead(self) -> None:
        if not self._has_seen_server and self._is_server_young():
            self._sweep.restart(SETTLING_S)
            return
        self._recovery.sweep(self._clock.now() if self._has_clock else None)

    def _is_server_young(self) -> bool:
        """A server that has just started may have been away for long: others must have time to beat first."""
        self._has_seen_server = True
        return self._session.run(server_uptime()).total_seconds() < YOUNG_SERVER_S

    def _name_stalled(self) -> None:
        """One of the tasks that a poller runs keeps it from moving: which ones they are only the table can tell."""
        for identity, _, number in self._orders.roster.members:
            board = self._boards[number]
            stalled_s = board.stalled_s(monotonic())
            if stalled_s < STALLED_S:
                self._told_stalled.discard(identity)
            elif identity not in self._told_stalled:
                self._told_stalled.add(identity)
                running = self._session.run(names_of(identity, board.started))
                names = [" ".join(each) for each in running]
                facts = {"poller": identity, "stalled_s": round(stalled_s), "running": names}
                self._log.warning(Event.POLLER_STALLED, **facts)

    def _name_unknown(self) -> None:
        """Tasks that nobody runs: renamed or removed, or their workers are not there. Each is told once."""
        found = self._session.run(overdue_unknown(list(self._plan.tasks), overdue=OVERDUE))
        for name in found:
            if name not in self._told_unknown:
                self._log.warning(Event.TASK_UNKNOWN, task=name)
        self._told_unknown |= set(found)


def _places(marks: Marks) -> list[Hint]:
    return [
        Hint(mark.since.timestamp(), NO_PRIORITY if priority is None else priority)
        for priority, mark in marks.items()
    ]
