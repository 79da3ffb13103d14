"""The processes of one generation of a worker: how each is forked, with what of the others', and how all are told.

Their parent is the supervisor, which decides when. Before each fork there is no connection and no thread in it.
"""

from __future__ import annotations

import math
import os
import secrets
import signal
from functools import partial
from typing import TYPE_CHECKING

from pgsched.domain.presence import RUNNING
from pgsched.log import Event, Logger
from pgsched.worker.board import Board
from pgsched.worker.child import Child, Slot
from pgsched.worker.clock import monotonic
from pgsched.worker.housekeeper import Household, Housekeeper
from pgsched.worker.poller import Poller, Shared
from pgsched.worker.process import Pipe, fork, new_pipe
from pgsched.worker.reporting import REPORTER_GRACE_S, Reporting
from pgsched.worker.roster import Ended, Member, Orders, Roster
from pgsched.worker.runner import run_errand
from pgsched.worker.upkeep import Upkeep
from pgsched.worker.wills import Wills

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgsched.worker.plan import Plan
    from pgsched.worker.runners import Request

HOUSEKEEPER_GRACE_S = 7.0


class Family:
    """Who is there, and what they share. `others_ends` are descriptors of the supervisor's that no child may keep."""

    def __init__(self, plan: Plan, others_ends: Callable[[], list[int]]) -> None:
        self._plan = plan
        self._log = Logger()
        self._others_ends = others_ends
        self._started_at = monotonic()
        self._lifeline = new_pipe()
        self._wills = Wills()
        self._orders: Pipe | None = None
        self._roster = Roster()
        self._is_dismissed = False
        self.state = RUNNING
        """What is told of the whole worker."""
        self.reporting = Reporting(plan)
        self.slots = self.reporting.slots
        self.housekeeper = Child(Board(0))
        self.upkeep = Upkeep(plan)

    @property
    def has_pollers(self) -> bool:
        return any(slot.pid is not None for slot in self.slots)

    @property
    def start_in_s(self) -> float:
        """Seconds until a process that is missing may be started: the housekeeper first, as nobody else beats."""
        others = (self.reporting.reporter, self.upkeep.child, *self.slots)
        children = (self.housekeeper, *(others if self._orders is not None else ()))
        waits_s = [child.restart_at - monotonic() for child in children if child.pid is None]
        return min(waits_s, default=math.inf)

    @property
    def is_dismissed(self) -> bool:
        """Whether no poller will come any more, and the housekeeper has been told so."""
        return self._is_dismissed

    # Forking

    def start_others(self) -> None:
        """Housekeeper and reporter, where they are missing."""
        if self.housekeeper.is_due and not self._is_dismissed:
            self._try_to_start(self.housekeeper, self._start_housekeeper)
        if self.reporting.reporter.is_due and self._orders is not None:
            self._try_to_start(self.reporting.reporter, self._start_reporter)

    def start_pollers(self) -> None:
        """Those that are missing, once somebody beats for them; and whoever looks after the tables, when it is time."""
        if self._orders is None:
            return
        if self.upkeep.child.is_due:
            self._try_to_start(self.upkeep.child, lambda: self.upkeep.start(self._private_ends))
        for number, slot in enumerate(self.slots):
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
            self.housekeeper.board,
            [slot.board for slot in self.slots],
            [slot.wake.writing for slot in self.slots],
            self._wills,
            self._started_at,
            self.reporting.housekeeper_tally,
        )

        def main() -> int:
            return Housekeeper(self._plan, household, Orders(orders.reading, roster)).run()

        closing = (orders.writing, *self._lifeline, *self._runners_ends, *self._others_ends())
        title = f"pgsched: housekeeper of {self._plan.worker_id}"
        self.housekeeper.clear_board()
        self.housekeeper.note_start(fork(title, main, closing=closing))

    def _start_reporter(self) -> None:
        self.reporting.start(self._lifeline.reading, self._private_ends)

    def _start_poller(self, number: int, slot: Slot) -> None:
        identity = f"{self._plan.worker_id}/{number}-{secrets.token_hex(4)}"
        shared = Shared(
            slot.board,
            slot.runners.asking_end,
            self._wills,
            wake=slot.wake.reading,
            lifeline=self._lifeline.reading,
            ready=slot.ready.writing,
            tally=slot.tally,
        )

        def main() -> int:
            return Poller(self._plan, identity, number=number, shared=shared).run()

        slot.clear_board()
        slot.note_start(fork(f"pgsched: poller {identity}", main, closing=self._private_ends))
        slot.identity = identity
        slot.is_ready = False
        self.tell_housekeeper()

    def start_runner(self, slot: Slot, request: Request) -> None:
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
        return tuple(end for slot in self.slots for end in slot.runners.descriptors)

    @property
    def _private_ends(self) -> tuple[int, ...]:
        """What the supervisor keeps for itself: its death must show."""
        assert self._orders is not None
        return (self._lifeline.writing, *self._orders, *self._runners_ends, *self._others_ends())

    # Telling

    def tell_housekeeper(self, *ended: Ended) -> None:
        """Who is there now, and who has ended. Where it doesn't listen, its successor is forked with all of it."""
        members = tuple(
            Member(slot.identity, slot.pid, number)
            for number, slot in enumerate(self.slots)
            if slot.pid is not None
        )
        news = Roster(members, ended, self.state)
        self._roster = self._roster.followed_by(news)
        if self._orders is None or self._is_dismissed:
            return
        if not news.tell(self._orders.writing) and self.housekeeper.pid is not None:
            os.kill(self.housekeeper.pid, signal.SIGKILL)

    def signal_pollers(self, number: signal.Signals) -> None:
        for slot in self.slots:
            if slot.pid is not None:
                os.kill(slot.pid, number)

    # Ending

    def dismiss_housekeeper(self) -> None:
        """Closing its orders ends it, once it has handed on what the pollers left."""
        if self._orders is not None and not self._is_dismissed:
            os.close(self._orders.writing)
        self._is_dismissed = True

    def end(self) -> None:
        """No poller is left: the others end, the reporter last."""
        self.dismiss_housekeeper()
        self.housekeeper.wait_end(HOUSEKEEPER_GRACE_S)
        os.close(self._lifeline.writing)
        self.reporting.reporter.wait_end(REPORTER_GRACE_S)
