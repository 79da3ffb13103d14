"""Says in the database that this worker is here, and how it does: for people, `pgsched status` shows it.

Never keeps beats back: it goes after them, waits for nobody's lock, and where it fails it is left out till next time.
"""

from __future__ import annotations

import math
import os
import socket
from datetime import timedelta
from typing import TYPE_CHECKING

from pgsched import __version__
from pgsched.domain.presence import Presence
from pgsched.errors import DatabaseUnavailable, InvalidData
from pgsched.log import Event
from pgsched.store.workers import remove_presence, write_presence
from pgsched.worker.board import Moment
from pgsched.worker.process import is_there
from pgsched.worker.timer import Timer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.log import Logger
    from pgsched.store.operation import Query
    from pgsched.store.session import Session
    from pgsched.worker.board import Board
    from pgsched.worker.clock import Clock
    from pgsched.worker.plan import Plan
    from pgsched.worker.roster import Roster

SELDOM_S = 30.0
OFTEN_S = 5.0
"""Two statements a time: a thousand workers at rest make 67 a second of them at most."""


class Register:
    """One worker's row among those who work here; `started_at` is monotonic."""

    def __init__(self, plan: Plan, boards: Sequence[Board], started_at: float, log: Logger) -> None:
        self._plan = plan
        self._boards = boards
        self._started_at = started_at
        self._log = log
        self._host = socket.gethostname()
        self._pid = os.getppid()
        self._every_s = max(OFTEN_S, min(SELDOM_S, plan.heartbeat_interval.total_seconds()))
        self._timer = Timer(self._every_s)
        self._timer.restart()
        self._told: str | None = None
        self._has_failed = False

    def wait_s(self, roster: Roster) -> float:
        """Seconds until it is to be written: at once when all pollers are there, and when the state has changed."""
        is_news = self._told not in {None, roster.state}
        is_complete = self._told is None and len(roster.members) == self._plan.processes
        return 0.0 if is_news or is_complete else self._timer.wait_s

    def write(self, session: Session, roster: Roster, clock: Clock, *, hears: bool) -> None:
        """Say how this worker does."""
        self._timer.restart()
        self._told = roster.state
        self._try(session, write_presence(self._presence(roster, clock, hears=hears)))

    def leave(self, session: Session) -> None:
        """Say that this worker has ended."""
        self._try(session, remove_presence(self._plan.worker_id, self._host, self._pid))

    def _try(self, session: Session, queries: Sequence[Query]) -> None:
        """Told once: a role that lacks the right to do so works as well without."""
        try:
            session.run_together(queries)
        except (DatabaseUnavailable, InvalidData) as error:
            if not self._has_failed:
                self._log.warning(Event.WORKER_UNSEEN, error=str(error))
            self._has_failed = True
        else:
            self._has_failed = False

    def _presence(self, roster: Roster, clock: Clock, *, hears: bool) -> Presence:
        # After its supervisor's death nobody tells which pollers have drained since: who is gone doesn't stand still.
        present = [member for member in roster.members if is_there(member.pid)]
        boards = [self._boards[member.number] for member in present]
        turned = min((board.last(Moment.TURNED) for board in boards), default=-math.inf)
        tasks = self._plan.tasks
        return Presence(
            worker=self._plan.worker_id,
            host=self._host,
            pid=self._pid,
            version=__version__,
            started_at=clock.at(self._started_at),
            seen_every=timedelta(seconds=self._every_s),
            state=roster.state,
            pollers=len(boards),
            slots=len(boards) * self._plan.concurrency,
            busy=sum(len(board.started) for board in boards),
            progressed_at=clock.at(turned) if turned > -math.inf else None,
            clock_offset=clock.machine_ahead,
            hears_notifications=hears,
            tasks=sorted(tasks),
            recurring=sorted(name for name, task in tasks.items() if task.schedule is not None),
            heartbeat_timeout=self._plan.heartbeat_timeout,
        )
