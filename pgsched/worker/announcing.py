"""What a worker says of itself to who manages it: ready, a line on how it does, and that it moves (sd_notify(3)).

Says nothing while nothing changes, but for the watchdog. Reads the boards alone; decides nothing.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from pgsched.worker.board import Moment
from pgsched.worker.clock import monotonic
from pgsched.worker.stalls import LONGEST_CALL_S
from pgsched.worker.surroundings import in_touch_for_s
from pgsched.worker.timer import Timer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgsched.worker.child import Child, Slot
    from pgsched.worker.plan import Plan

STATUS_S = 3.0
"""A person reads it."""

LEAST_STILL_S = LONGEST_CALL_S
"""Who waits for a database that doesn't answer may stand still for so long: no reason to start a worker anew."""

MORE_TIME_S = 20.0
"""Until the next turn (5 s), or for housekeeper and reporter after the last one (9 s)."""


def watchdog_s() -> float | None:
    """How often this process must show that it moves, by what the service manager says; None: it needn't."""
    try:
        wanted_s = int(os.environ.get("WATCHDOG_USEC", "")) / 1_000_000
        pid = int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return wanted_s if wanted_s > 0 and pid == os.getpid() else None


class Announcer:
    """Of one generation of a worker."""

    def __init__(self, plan: Plan, slots: Sequence[Slot], say: Callable[[str], None]) -> None:
        self._plan = plan
        self._slots = slots
        self._say = say
        self._told = ""
        self._status_timer = Timer(STATUS_S)
        self._watchdog_s = watchdog_s()
        self._longest_still_s = max(self._watchdog_s or 0.0, LEAST_STILL_S)
        self._feeding = Timer(math.inf if self._watchdog_s is None else self._watchdog_s / 2)
        self._stops_at = math.inf

    @property
    def wait_s(self) -> float:
        """Seconds until the watchdog is to be fed."""
        return math.inf if self._watchdog_s is None else self._feeding.wait_s

    def note_starting(self) -> None:
        self._tell("STATUS=", "starting")

    def note_ready(self) -> None:
        """Every poller is connected."""
        self._tell("READY=1\nSTATUS=", self._status())

    def note_stopping(self, stops_at: float) -> None:
        """It has been told to stop, and will have done so at `stops_at`, give or take what comes after the pollers."""
        self._stops_at = stops_at
        self._tell("STOPPING=1\nSTATUS=", self._status())
        self._ask_for_time()

    def turn(self, housekeeper: Child) -> None:
        """Say what there is to say now."""
        if self._watchdog_s is not None and not self._feeding.wait_s:
            self._feeding.restart()
            if all(map(self._is_moving, (housekeeper, *self._slots))):
                self._say("WATCHDOG=1")
        if not self._status_timer.wait_s:
            if (status := self._status()) != self._told:
                self._tell("STATUS=", status)
            self._status_timer.restart()
            self._ask_for_time()

    def _ask_for_time(self) -> None:
        if monotonic() < self._stops_at < math.inf:
            self._say(f"EXTEND_TIMEOUT_USEC={round(MORE_TIME_S * 1_000_000)}")

    def _tell(self, prefix: str, status: str) -> None:
        self._told = status
        self._status_timer.restart()
        self._say(prefix + status)

    def _is_moving(self, child: Child) -> bool:
        """Where there is no process, one is about to be started: the pause before that is no standstill."""
        return not child.has_stalled(self._longest_still_s)

    def _status(self) -> str:
        there = [slot for slot in self._slots if slot.pid is not None]
        busy = sum(len(slot.board.started) for slot in there)
        if self._stops_at < math.inf:
            left_s = max(0, round(self._stops_at - monotonic()))
            return (
                f"draining: {busy} executions on {len(there)} pollers left, for {left_s} s at most"
            )
        connected = sum(slot.is_ready for slot in there)
        slots = len(self._slots) * self._plan.concurrency
        parts = [f"{connected} of {len(self._slots)} pollers, {busy} of {slots} slots busy"]
        still = [slot for slot in there if not self._is_moving(slot)]
        if still:
            parts.append(f"{len(still)} pollers stand still")
        if out := [slot for slot in there if in_touch_for_s(self._plan, slot.board) <= 0]:
            beaten_at = min(slot.board.last(Moment.IN_TOUCH) for slot in out)
            parts.append(f"out of touch with the database for {monotonic() - beaten_at:.0f} s")
        return ", ".join(parts)
