"""The supervisor's part in what the reporter tells: its own board and tally, and the place of the reporter's process.

Where nothing is to be monitored there is no tally anywhere, and no reporter is ever due.
"""

from __future__ import annotations

import math
import os
import secrets
from importlib import import_module
from typing import TYPE_CHECKING

from pgsched.worker import tally
from pgsched.worker.board import Board, Moment
from pgsched.worker.child import Child, Slot
from pgsched.worker.clock import monotonic
from pgsched.worker.metrics import (
    DIED,
    KILLED,
    POLLER_RESTARTS,
    RECYCLED,
    RESIDENT,
)
from pgsched.worker.process import RETIRE, fork, resident_bytes
from pgsched.worker.roster import End

if TYPE_CHECKING:
    from pgsched.worker.plan import Plan
    from pgsched.worker.tally import Tally

REPORTER_GRACE_S = 2.0
"""For its last words to the database: whoever samples lets the lease go, or nobody would for its length."""

RESTART_REASONS = {End.DIED: DIED, End.KILLED: KILLED, End.IN_ORDER: RECYCLED}


class Reporting:
    """Built with the supervisor's slots, before the first fork."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._is_on = plan.monitoring is not None
        if self._is_on:
            # Before the first fork: one that is started again when another release lies in its place must not read that
            # one's. It costs a poller 0.2 MB of its own, and 1.8 MB that all of them share.
            import_module("pgsched.worker.reporter")
        self._board = Board(0)
        self._tally = tally.of_supervisor() if self._is_on else None
        self.housekeeper_tally = self._housekeeper_tally()
        self._holder = f"{plan.worker_id}/{secrets.token_hex(4)}"
        self.reporter = Child(Board(0), restart_at=math.inf)
        self.slots = [
            Slot(Board(plan.concurrency), tally=self._poller_tally()) for _ in range(plan.processes)
        ]

    def _housekeeper_tally(self) -> Tally | None:
        if not self._is_on:
            return None
        is_listening = not self._plan.database.is_pooled
        return tally.of_housekeeper(self._plan.tasks, is_listening=is_listening)

    def _poller_tally(self) -> Tally | None:
        return tally.of_poller(self._plan.tasks) if self._is_on else None

    def note_turn(self) -> None:
        """The supervisor's loop has made a turn."""
        self._board.note(Moment.TURNED, monotonic())
        if self._tally is not None:
            self._tally.note(resident_bytes(), RESIDENT, "supervisor")

    def note_stopping(self) -> None:
        self._board.note(Moment.STOPPING, monotonic())

    def begin(self) -> None:
        """From now on there may be a reporter, as nobody else of this worker has its port."""
        if self._is_on:
            self.reporter.restart_at = 0.0

    def end(self) -> None:
        """Another generation of this worker is to have the port. Nothing that was counted is the reporter's."""
        if self.reporter.pid is not None:
            os.kill(self.reporter.pid, RETIRE)
        self.reporter.wait_end(REPORTER_GRACE_S)
        self.reporter.pid = None
        self.reporter.restart_at = math.inf

    def note_replaced(self, end: End) -> None:
        """A poller has ended thus, and another one takes its place."""
        if self._tally is not None:
            self._tally.add(1, POLLER_RESTARTS, RESTART_REASONS[end])

    def start(self, lifeline: int, closing: tuple[int, ...]) -> None:
        """Fork the reporter."""
        self.reporter.clear_board()
        title = f"pgsched: reporter of {self._plan.worker_id}"
        self.reporter.note_start(fork(title, lambda: self._report(lifeline), closing=closing))

    def _report(self, lifeline: int) -> int:
        """The reporter's main."""
        from pgsched.worker.reporter import Reported, Reporter

        tallies = [self._tally, self.housekeeper_tally, *(slot.tally for slot in self.slots)]
        reported = Reported(
            self.reporter.board,
            supervisor=self._board,
            pollers=[slot.board for slot in self.slots],
            tallies=[each for each in tallies if each is not None],
            holder=self._holder,
        )
        return Reporter(self._plan, reported, lifeline).run()
