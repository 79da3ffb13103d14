"""Now and then somebody looks after the indexes: a process of its own, in one worker of the cluster.

Never watched for progress, as a rebuild takes as long as it takes; never waited for, as it can be done tomorrow. Where
the role may not maintain the tables it does nothing, and says nothing: that is how most workers are meant to be.
"""

from __future__ import annotations

import math
import os
import secrets
import signal
from typing import TYPE_CHECKING, Any

from pgsched.errors import MaintenanceRunning, PgschedError, RowsLocked
from pgsched.log import Event, Logger
from pgsched.store.connecting import connection
from pgsched.store.leasing import is_leased, take_lease
from pgsched.store.maintaining import maintain, missing_right
from pgsched.store.operation import drive
from pgsched.worker.board import Board
from pgsched.worker.child import Child
from pgsched.worker.clock import monotonic
from pgsched.worker.process import EXIT_OK, fork

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsched.store.maintaining import Repaired
    from pgsched.store.statement import Names
    from pgsched.worker.plan import Plan

LEASE = "maintenance"

TRIES = 4
"""In each interval: whoever comes first after the last one's has run out."""

FIRST_TRY_S = 60.0
"""Workers that are replaced often must have their turn as well; none at its very start, when there is much to do."""


class Upkeep:
    """The place of that process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        interval = plan.maintenance_interval
        # A pooler in transaction mode would lose the lock that keeps a second one out.
        is_on = interval is not None and not plan.database.is_pooled
        self._pause_s = (
            interval.total_seconds() / TRIES if interval is not None and is_on else math.inf
        )
        first_s = min(FIRST_TRY_S, self._pause_s) if is_on else math.inf
        self.child = Child(Board(0), restart_at=monotonic() + first_s)

    def start(self, closing: tuple[int, ...]) -> None:
        """Fork it."""
        title = f"pgsched: maintenance of {self._plan.worker_id}"
        self.child.note_start(fork(title, lambda: _look_after(self._plan), closing=closing))

    def note_end(self, pid: int) -> bool:
        """Whether it is this process that has ended."""
        if pid != self.child.pid:
            return False
        self.child.note_end(has_died=False)
        self.child.restart_at = monotonic() + self._pause_s
        return True

    def stop(self) -> None:
        """What it was at the server ends within a second; what is half done then, the next one clears away."""
        if self.child.pid is not None:
            os.kill(self.child.pid, signal.SIGKILL)


def _look_after(plan: Plan) -> int:
    """The process's main. The lease says that it is done, and is taken after it: one that is killed has not done it."""
    interval, names, log = plan.maintenance_interval, plan.database.names, Logger()
    assert interval is not None
    holder = f"{plan.worker_id}/{secrets.token_hex(4)}"
    name = f"pgsched {plan.worker_id}/maintenance"
    try:
        with connection(plan.database.conninfo, name=name) as opened:
            if missing_right(opened, names):
                return EXIT_OK
            if not drive(opened, names, is_leased(LEASE, interval), is_atomic=False):
                _mend(log, opened, names)
                drive(opened, names, take_lease(LEASE, holder, interval), is_atomic=False)
    except MaintenanceRunning:
        pass  # whoever is at it takes the lease
    except PgschedError as error:
        log.warning(Event.MAINTENANCE_FAILED, error=str(error))
    return EXIT_OK


def _mend(log: Logger, opened: Connection[Any], names: Names) -> None:
    try:
        for repaired in maintain(opened, names):
            _tell(log, repaired)
    except RowsLocked as error:  # by somebody who takes long: not to be met again by each worker
        log.warning(Event.MAINTENANCE_FAILED, error=str(error))


def _tell(log: Logger, repaired: Repaired) -> None:
    repair = repaired.repair
    facts = {"index": repair.name, "reason": repair.reason.value}
    if repaired.problem:
        log.warning(Event.INDEX_NOT_MENDED, **facts, error=repaired.problem)
    else:
        log.info(Event.INDEX_MENDED, **facts, won_bytes=repaired.won_bytes)
