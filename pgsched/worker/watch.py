"""Watches from a thread of its own whether a poller is in touch: its main thread may itself wait for the database.

Out of touch, tasks that must never overlap are stopped before others may take their executions; what of them does not
stop ends with the process.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from pgsched.log import Event, Logger
from pgsched.worker.board import Moment
from pgsched.worker.clock import monotonic
from pgsched.worker.process import EXIT_OK
from pgsched.worker.surroundings import in_touch_for_s

if TYPE_CHECKING:
    from pgsched.worker.board import Board
    from pgsched.worker.executor import Executor
    from pgsched.worker.plan import Plan


class TouchWatch:
    """Sleeps until the next beat is too late."""

    def __init__(self, plan: Plan, board: Board, executor: Executor, log: Logger) -> None:
        self._plan = plan
        self._board = board
        self._executor = executor
        self._log = log
        self._never = threading.Event()
        left = (plan.heartbeat_timeout - plan.heartbeat_interval) / 2
        self._grace_s = left.total_seconds() / 2
        self._round_s = min(1.0, self._grace_s / 5)

    def start(self) -> None:
        threading.Thread(target=self._watch, name="pgsched-touch", daemon=True).start()

    def _watch(self) -> None:
        while True:
            self._never.wait(max(self._round_s, self._left_s))
            if self._left_s <= 0:
                self._log.warning(Event.POLLER_OUT_OF_TOUCH, pid=os.getpid())
                self._stop_until_in_touch()

    def _stop_until_in_touch(self) -> None:
        while self._left_s <= 0:
            is_any_left = self._executor.stop_what_must_not_overlap() > 0
            if is_any_left and self._left_s < -self._grace_s:
                self._board.note(Moment.LEFT, monotonic())
                os._exit(EXIT_OK)
            self._never.wait(self._round_s)

    @property
    def _left_s(self) -> float:
        return in_touch_for_s(self._plan, self._board)
