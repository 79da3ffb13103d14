"""A page of memory that a poller shares with its supervisor and the housekeeper: what it runs, and that it moves.

It can be read when the poller is dead, and costs a run no more than two writes to memory (decisions/007).
"""

from __future__ import annotations

import math
import mmap
from collections import deque
from enum import IntEnum

CELL_BYTES = 8


class Moment(IntEnum):
    """Times on the monotonic clock, which all processes of a machine share."""

    TURNED = 0
    """The poller's loop has made a turn."""
    IN_TOUCH = 1
    """Its executions were beaten for."""
    STOPPING = 2
    """It has been asked to stop."""
    LEFT = 3
    """It has ended in order. An exit status says nothing: a task may end its process with any."""
    READY = 4
    """It was connected for the first time."""
    RETIRED = 5
    """It has stopped picking, for whatever reason."""


class Board:
    """Made before the fork; written by the poller, read by whoever has it."""

    def __init__(self, cells: int) -> None:
        memory = memoryview(mmap.mmap(-1, CELL_BYTES * (len(Moment) + cells)))
        self._moments = memory[: CELL_BYTES * len(Moment)].cast("d")
        self._cells = memory[CELL_BYTES * len(Moment) :].cast("q")
        self._free = deque(range(cells))
        self.clear()

    def clear(self) -> None:
        """For the next poller: nothing runs, nothing has happened yet."""
        for moment in Moment:
            self._moments[moment] = -math.inf
        for cell in range(len(self._cells)):
            self._cells[cell] = 0

    def enter(self, seq: int) -> int:
        """A run of the execution with this `seq` starts; answers its cell."""
        cell = self._free.popleft()
        self._cells[cell] = seq + 1
        return cell

    def leave(self, cell: int) -> None:
        """That run has ended. Its trace stays as long as it can: the process may yet die of it."""
        self._cells[cell] = -self._cells[cell]
        self._free.append(cell)

    @property
    def started(self) -> tuple[int, ...]:
        """The `seq` of all that runs."""
        return tuple(cell - 1 for cell in self._cells if cell > 0)

    @property
    def traces(self) -> tuple[int, ...]:
        """The `seq` of all that runs or ran lately: when the poller dies, any that it still holds may be why."""
        return tuple(abs(cell) - 1 for cell in self._cells if cell)

    def note(self, moment: Moment, at: float) -> None:
        self._moments[moment] = at

    def note_end(self) -> None:
        """Its process is gone. What it ran is still to be read here."""
        self.note(Moment.TURNED, -math.inf)
        self.note(Moment.READY, -math.inf)

    @property
    def has_process(self) -> bool:
        return self._moments[Moment.TURNED] > -math.inf

    @property
    def is_ready(self) -> bool:
        """Whether there is a process, which has been connected."""
        return self._moments[Moment.READY] > -math.inf

    @property
    def is_picking(self) -> bool:
        """Whether there is a process that takes on what is due."""
        return self.is_ready and self._moments[Moment.RETIRED] == -math.inf

    def stalled_s(self, now: float) -> float:
        """For how long its loop has made no turn."""
        turned = self._moments[Moment.TURNED]
        return now - turned if turned > -math.inf else 0.0

    def last(self, moment: Moment) -> float:
        """When it was (monotonic); minus infinity for never."""
        return self._moments[moment]
