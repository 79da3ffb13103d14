"""The places of a worker's lasting processes: who is in each now, and when the next may be."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgsched.worker.board import Moment
from pgsched.worker.clock import monotonic
from pgsched.worker.process import Pipe, new_pipe
from pgsched.worker.runners import Runners
from pgsched.worker.wakeup import readable

if TYPE_CHECKING:
    from pgsched.worker.board import Board
    from pgsched.worker.tally import Tally

PAUSES_S = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)
"""Before a first, second, … restart in a row."""

ROUND_S = 0.01

HEALTHY_S = 10.0
"""A process that lived this long starts its pauses anew when it dies."""


@dataclass(slots=True)
class Child:
    """The place of one process."""

    board: Board
    pid: int | None = None
    started_at: float = 0.0
    deaths: int = 0
    restart_at: float = 0.0

    @property
    def is_due(self) -> bool:
        return self.pid is None and self.restart_at <= monotonic()

    def clear_board(self) -> None:
        """For the next process: it has not had time to move yet, and a pick is as good as a beat."""
        self.board.clear()
        self.note_turn()
        self.board.note(Moment.IN_TOUCH, monotonic())

    def note_start(self, pid: int) -> None:
        self.pid = pid
        self.started_at = monotonic()

    def note_turn(self) -> None:
        """Its process is given time anew."""
        self.board.note(Moment.TURNED, monotonic())

    def has_stalled(self, longest_s: float) -> bool:
        """Whether its process stands still for longer than that."""
        return self.pid is not None and self.board.stalled_s(monotonic()) > longest_s

    def note_end(self, *, has_died: bool = True) -> None:
        self.pid = None
        self.board.note_end()
        if monotonic() - self.started_at > HEALTHY_S or not has_died:
            self.deaths = 0
        self.note_failed_start()

    def wait_end(self, longest_s: float) -> None:
        """Its process has been told to end, as the last thing that is done with it: killed where it takes longer."""
        if self.pid is None:
            return
        deadline = monotonic() + longest_s
        while monotonic() < deadline:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                return
            readable([], ROUND_S)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def note_failed_start(self) -> None:
        """There is no process: the next try comes after a pause."""
        self.restart_at = monotonic() + PAUSES_S[min(self.deaths, len(PAUSES_S) - 1)]
        self.deaths += 1


@dataclass(slots=True)
class Slot(Child):
    """The place of one poller, with what it shares with others: that outlives the processes."""

    wake: Pipe = field(default_factory=new_pipe)
    ready: Pipe = field(default_factory=new_pipe)
    runners: Runners = field(default_factory=Runners)
    tally: Tally | None = None
    identity: str = ""
    is_ready: bool = False
    is_out_of_touch: bool = False
