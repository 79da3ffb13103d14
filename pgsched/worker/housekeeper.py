"""Beats for what this worker's pollers hold, recovers what is dead, hears notifications and looks unasked for all.

A process of its own beside the pollers (decisions/001): a task that holds the GIL, blocks an event loop or kills its
process can't stop it. Runs no user code. It must not beat for a poller that is itself gone or stopped, or a frozen
one would look alive for ever.
"""

from __future__ import annotations

import json
import math
import os
import signal
from contextlib import suppress
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pgsched.domain.completion import MoveToFailed
from pgsched.errors import DatabaseUnavailable
from pgsched.log import Event, Logger
from pgsched.store.completing import Writer, complete
from pgsched.store.listening import NO_PRIORITY, NOW, Hint
from pgsched.store.liveness import (
    BATCH,
    beat,
    names_of,
    recover_dead,
    recover_of,
    release_of,
    server_uptime,
)
from pgsched.store.picking import overdue_unknown, survey
from pgsched.store.session import Session
from pgsched.worker.board import Moment
from pgsched.worker.clock import Clock, monotonic
from pgsched.worker.guard import Guard
from pgsched.worker.looks import LOOKS_S, Looks
from pgsched.worker.outage import Outage
from pgsched.worker.process import EXIT_OK, Signals
from pgsched.worker.timer import Timer
from pgsched.worker.wakeup import ALL_QUIET, HINT, drained, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgsched.store.listening import Listener
    from pgsched.store.liveness import Recovered
    from pgsched.store.picking import Marks
    from pgsched.worker.board import Board
    from pgsched.worker.plan import Plan
    from pgsched.worker.wills import Wills

LONGEST_SWEEP_S = 30.0
"""A dead execution is found this long after its heartbeat timeout, at worst."""

PROBE_S = 60.0
"""How often a silent listening connection is asked whether it is still there."""

STALL_CHECK_S = 5.0
STALLED_S = 10.0
"""A poller's loop makes a turn every few seconds, whatever there is to do."""

UNKNOWN_CHECK_S = 60.0
OVERDUE = timedelta(minutes=1)
"""What another worker knows is run long before."""

DEAF_S = 0.005
"""After a notification the next ones are heard this much later, all at once: a flood of them must not keep the pollers
from working. (Measured, one client as fast as it can: twice as many a second, for a quarter of the worker's work.)"""

YOUNG_SERVER_S = 60.0
SETTLING_S = 5.0
"""After an outage every live worker beats as soon as it is back; until then nobody may be called dead."""

LAST_LOOKS = 3
"""So many of them must have been made before the worker may end."""

LAST_WORDS_S = 5.0
"""How long recoveries may still be tried when the worker ends."""


class Member(NamedTuple):
    """A poller of this worker, as the supervisor knows it."""

    identity: str
    pid: int
    number: int


class End(StrEnum):
    """How a poller ended. Only what died of itself leaves executions that collect a crash."""

    IN_ORDER = "in order"
    KILLED = "killed"
    DIED = "died"


class Ended(NamedTuple):
    """A poller that is gone; where it died: of what, and what it was running (their `seq`)."""

    identity: str
    end: End
    started: tuple[int, ...] = ()
    cause: str = ""

    @property
    def looks(self) -> tuple[float, ...]:
        """The pauses before each look for what it left: its last pick may commit after it is dead."""
        return LOOKS_S[:1] if self.end is End.IN_ORDER else LOOKS_S


class Roster(NamedTuple):
    """Who is there, and whose executions are still to be handed on: the supervisor's word, replaced whole."""

    members: tuple[Member, ...] = ()
    ended: tuple[Ended, ...] = ()

    def written(self) -> bytes:
        return (json.dumps([self.members, self.ended]) + "\n").encode()

    @classmethod
    def read(cls, line: bytes) -> Roster:
        members, ended = json.loads(line)
        return cls(
            tuple(Member(*member) for member in members),
            tuple(
                Ended(who, End(end), tuple(started), cause) for who, end, started, cause in ended
            ),
        )


class Housekeeper:
    """The loop of one worker's housekeeper."""

    def __init__(
        self,
        plan: Plan,
        *,
        orders: int,
        wake_pipes: Sequence[int],
        boards: Sequence[Board],
        wills: Wills,
        roster: Roster,
    ) -> None:
        self._plan = plan
        self._boards = boards
        self._wills = wills
        self._orders: int | None = orders
        self._unread = b""
        self._wake_pipes = wake_pipes
        self._roster = roster
        self._looks: dict[str, Looks] = {}
        self._log = Logger()
        # It ends when its supervisor says so, after the last poller: a signal to the whole group must not end it.
        ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
        self._signals = Signals((), ignored=ignored)
        self._guard = Guard()
        self._session = Session(plan.database, f"pgsched {plan.worker_id}/housekeeper", self._guard)
        self._listener: Listener | None = None
        self._outage = Outage(self._log)
        interval_s = plan.heartbeat_interval.total_seconds()
        self._beat = Timer(interval_s)
        self._sweep = Timer(min(interval_s, LONGEST_SWEEP_S))
        self._probe = Timer(PROBE_S)
        self._stall_check = Timer(STALL_CHECK_S)
        self._told_stalled: set[str] = set()
        self._unknown_check = Timer(UNKNOWN_CHECK_S)
        self._told_unknown: set[str] = set()
        self._look = Timer(plan.polling_interval.total_seconds())
        self._look.restart()
        self._deaf = Timer(DEAF_S)
        self._has_seen_server = False
        self._clock = Clock()
        self._has_clock = False
        self._gives_up_at = float("inf")

    def run(self) -> int:
        """Run until the supervisor has closed the orders and nothing is left to hand on."""
        self._log.info(Event.HOUSEKEEPER_STARTED, pid=os.getpid())
        while not self._is_done():
            self._wait()
            if not self._outage.wait_s:
                self._talk()
        return EXIT_OK

    def _is_done(self) -> bool:
        if self._orders is not None:
            return False
        if monotonic() > self._gives_up_at:
            return True
        return not self._living() and all(map(self._is_handed_on, self._roster.ended))

    def _wait(self) -> None:
        ends = [] if self._orders is None else [self._orders]
        if self._listener is not None and not self._deaf.wait_s:
            ends.append(self._listener.fileno())
        ready = readable(ends, self._wait_s())
        if self._orders in ready:
            self._take_orders()

    def _wait_s(self) -> float:
        if self._outage.is_on:
            return self._outage.wait_s
        waits = [self._beat.wait_s, self._sweep.wait_s, self._probe.wait_s]
        waits += [self._look.wait_s, self._stall_check.wait_s, self._unknown_check.wait_s]
        if self._orders is None:
            waits.append(0.1)
        if self._deaf.wait_s:
            waits.append(self._deaf.wait_s)
        waits += [self._looks_for(each).wait_s for each in self._roster.ended]
        return min(waits)

    def _take_orders(self) -> None:
        assert self._orders is not None
        try:
            self._unread += drained(self._orders)
        except EOFError:
            self._end()
            return
        *lines, self._unread = self._unread.split(b"\n")
        if lines:
            self._roster = Roster.read(lines[-1])
            known = {each.identity for each in self._roster.ended}
            self._looks = {who: looks for who, looks in self._looks.items() if who in known}

    def _end(self) -> None:
        """No more orders: the supervisor is done, or gone. Pollers that outlive it are beaten for while they drain,
        and count as ended in order.
        """
        self._orders = None
        drain_s = self._plan.shutdown_timeout.total_seconds() if self._living() else 0.0
        self._gives_up_at = monotonic() + drain_s + LAST_WORDS_S
        orphans = tuple(Ended(member.identity, End.KILLED) for member in self._roster.members)
        self._roster = self._roster._replace(ended=self._roster.ended + orphans)

    def _talk(self) -> None:
        try:
            self._hear()
            if self._outage.note_answered():
                self._settle()
            self._hand_on()
            self._when_due(self._beat, self._beat_for_living)
            self._when_due(self._sweep, self._recover_dead)
            self._when_due(self._look, self._look_for_all)
            self._when_due(self._stall_check, self._name_stalled)
            self._when_due(self._unknown_check, self._name_unknown)
        except DatabaseUnavailable as error:
            self._close()
            self._outage.note_lost(error)

    def _when_due(self, timer: Timer, work: Callable[[], None]) -> None:
        if not timer.wait_s:
            work()
            timer.restart()

    # Notifications

    def _hear(self) -> None:
        if self._listener is None:
            self._listener = self._plan.database.listen(
                f"pgsched {self._plan.worker_id}/listener", self._guard
            )
            self._probe.restart()
            self._beat.restart(0.0)
            self._wake_pollers([NOW])  # what was notified before is lost
        if not self._deaf.wait_s and (hints := self._listener.hear()):
            self._wake_pollers(hints)
            self._deaf.restart()
        self._when_due(self._probe, self._listener.probe)

    def _look_for_all(self) -> None:
        """The safety net, for what nobody notified of: one look for all pollers, who make it themselves without it."""
        found = self._session.run(survey(list(self._plan.tasks)))
        coming_s = math.inf if found.coming_s is None else found.coming_s
        quiet = [Hint(coming_s, ALL_QUIET)]
        self._wake_pollers(_places(found.marks) if found.is_any_due else quiet)

    def _wake_pollers(self, hints: list[Hint]) -> None:
        packed = b"".join(HINT.pack(*hint) for hint in hints)
        for pipe in self._wake_pipes:
            with suppress(BlockingIOError):  # it has plenty to wake up for
                os.write(pipe, packed)

    # Beats and recoveries

    def _living(self) -> list[Member]:
        return [member for member in self._roster.members if is_moving(member.pid)]

    def _beat_for_living(self) -> None:
        living = self._living()
        beaten_at = monotonic()
        beaten = self._session.run(beat([member.identity for member in living]))
        for member in living:
            self._boards[member.number].note(Moment.IN_TOUCH, beaten_at)
        if self._has_clock and self._has_jumped(beaten.at - self._clock.at(beaten_at)):
            self._log.warning(Event.CLOCK_JUMPED, database_now=str(beaten.at))
            self._settle()
        self._has_clock = True
        self._clock.observe(beaten.at, beaten_at)

    def _has_jumped(self, by: timedelta) -> bool:
        return abs(by) > self._plan.heartbeat_timeout / 4

    def _settle(self) -> None:
        """Everybody looks silent for as long: who is alive shows after one interval of beats at the latest."""
        self._sweep.restart(max(SETTLING_S, self._plan.heartbeat_interval.total_seconds()))

    def _name_stalled(self) -> None:
        """One of the tasks that a poller runs keeps it from moving: which ones they are only the table can tell."""
        for identity, _, number in self._roster.members:
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

    def _looks_for(self, ended: Ended) -> Looks:
        """When to look for what an ended poller left."""
        return self._looks.setdefault(ended.identity, Looks(ended.looks))

    def _is_handed_on(self, ended: Ended) -> bool:
        return self._looks_for(ended).made >= min(LAST_LOOKS, len(ended.looks))

    def _hand_on(self) -> None:
        """What ended pollers held is due again: at once, not after the heartbeat timeout."""
        living = {member.identity for member in self._living()}
        for ended in self._roster.ended:
            if ended.identity in living or self._looks_for(ended).wait_s:
                continue
            if self._hand_on_of(ended):
                self._looks_for(ended).note_look()

    def _hand_on_of(self, ended: Ended) -> bool:
        """Hand on what one of them left; answers whether that was all of it."""
        names = self._plan.database.names
        self._carry_out_will(ended)
        if ended.end is not End.DIED:
            if released := self._session.run(release_of(names, ended.identity)):
                self._log.info(Event.EXECUTION_RELEASED, poller=ended.identity, executions=released)
            return True
        found = self._session.run(
            recover_of(
                names,
                ended.identity,
                ended.started,
                cause=ended.cause,
                max_crashes=self._plan.max_crashes,
            )
        )
        self._log_recovered(found, reason=f"poller died: {ended.cause}")
        return len(found) < BATCH

    def _carry_out_will(self, ended: Ended) -> None:
        """What its poller could only have written too soon: runs that nothing but its end has stopped, as failures."""
        will = self._wills.of(ended.identity)
        if not will:
            return
        writer = Writer(ended.identity, self._plan.polling_interval)
        receipts = self._session.run(
            complete(self._plan.database.names, writer, will), is_atomic=True
        )
        self._wills.forget(ended.identity)
        for completion, receipt in zip(will, receipts, strict=True):
            event = (
                Event.EXECUTION_EXHAUSTED
                if isinstance(completion, MoveToFailed)
                else Event.EXECUTION_FAILED
            )
            name, instance, _ = completion.execution.key
            self._log.error(
                event,
                task=name,
                instance=instance,
                reason="timeout",
                receipt=receipt.value,
            )

    def _recover_dead(self) -> None:
        if not self._has_seen_server and self._is_server_young():
            self._sweep.restart(SETTLING_S)
            return
        timeout: timedelta = self._plan.heartbeat_timeout
        found: list[Recovered] | None = None
        while found is None or len(found) == BATCH:
            found = self._session.run(
                recover_dead(
                    self._plan.database.names,
                    list(self._plan.tasks),
                    timeout=timeout,
                    max_crashes=self._plan.max_crashes,
                    expected_now=self._clock.now() if self._has_clock else None,
                )
            )
            self._log_recovered(found, reason="heartbeat stopped")

    def _is_server_young(self) -> bool:
        """A server that has just started may have been away for long: others must have time to beat first."""
        self._has_seen_server = True
        return self._session.run(server_uptime()).total_seconds() < YOUNG_SERVER_S

    def _log_recovered(self, found: list[Recovered], *, reason: str) -> None:
        if idle := [each for each in found if not each.is_suspect]:
            self._log.info(
                Event.EXECUTION_RELEASED, poller=idle[0].poller, executions=len(idle), reason=reason
            )
        for each in found:
            if not each.is_suspect:
                continue
            facts = {
                "task": each.task_name,
                "instance": each.task_instance,
                "crashes": each.crashes,
            }
            facts |= {"poller": each.poller, "reason": reason}
            if each.is_buried:
                self._log.error(Event.EXECUTION_BURIED, **facts)
            else:
                self._log.warning(Event.EXECUTION_RECOVERED, **facts)

    def _close(self) -> None:
        self._session.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None


def _places(marks: Marks) -> list[Hint]:
    return [
        Hint(mark.since.timestamp(), NO_PRIORITY if priority is None else priority)
        for priority, mark in marks.items()
    ]


def is_moving(pid: int) -> bool:
    """Whether a process exists and isn't stopped (SIGSTOP, a debugger) or dead and unburied.

    Without /proc, only whether it exists.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return not Path("/proc/self/stat").exists() and _exists(pid)
    return stat.rpartition(")")[2].split()[0] not in {"T", "t", "Z", "X"}


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
