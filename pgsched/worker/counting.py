"""What a poller counts as it goes: of some 70,000 runs a second, so turn by turn, for all that ended in one.

(Measured: 0.6 µs a run, beside 0.9 where each is counted by itself.)
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pgsched.domain.completion import Crash, MoveToFailed, Release, Reschedule
from pgsched.domain.outcome import SUCCEEDED as WELL
from pgsched.store.completing import Receipt
from pgsched.worker.metrics import (
    DURATION,
    EMPTY,
    EXECUTIONS,
    FAILED,
    FULL,
    GIVEN_UP,
    INTERRUPTED,
    LATENESS,
    PARTIAL,
    PICK_BATCH,
    PICKS,
    RESIDENT,
    SLOTS_BUSY,
    STALE,
    SUCCEEDED,
    WRITE_BATCH,
)
from pgsched.worker.process import resident_bytes
from pgsched.worker.timer import Timer

if TYPE_CHECKING:
    from pgsched.worker.clock import Clock
    from pgsched.worker.run import Run
    from pgsched.worker.tally import Tally

CHANGED = Receipt.CHANGED
"""A name of its own: a member of an enum takes as long to find as all the rest of `note_answered`."""

MEMORY_S = 5.0
"""How often it is looked up how much memory the process holds."""


class Counting:
    """The control thread of one poller counts here, and nobody else."""

    def __init__(self, tally: Tally, clock: Clock, *, max_crashes: int) -> None:
        self._tally = tally
        self._clock = clock
        self._max_crashes = max_crashes
        self._written = 0
        self._changed: list[Run] = []
        self._memory = Timer(MEMORY_S)

    def note_answered(self, run: Run, receipt: Receipt) -> None:
        """A completion has its receipt."""
        self._written += 1
        if receipt is CHANGED:
            self._changed.append(run)
        else:
            self._tally.add(1, STALE, run.finished.execution.task_name)

    def note_pick(self, taken: int, wanted: int) -> None:
        self._tally.add(1, PICKS, FULL if taken == wanted else PARTIAL if taken else EMPTY)
        if taken:
            self._tally.observe([taken], PICK_BATCH)

    def note_turn(self, busy: int) -> None:
        """The loop has made a turn; `busy` slots run something."""
        if self._written:
            self._tally.observe([self._written], WRITE_BATCH)
            self._written = 0
            self._count_ended()
            self._changed = []
        self._tally.note(busy, SLOTS_BUSY)
        if not self._memory.wait_s:
            self._memory.restart()
            self._tally.note(resident_bytes(), RESIDENT, "poller")

    def _count_ended(self) -> None:
        """What was handed back without having run is no run."""
        by_task: defaultdict[str, list[Run]] = defaultdict(list)
        for run in self._changed:
            if run.finished.started_at:
                by_task[run.finished.execution.task_name].append(run)
        for task, runs in by_task.items():
            self._count_ended_of(task, runs)

    def _count_ended_of(self, task: str, runs: list[Run]) -> None:
        others = [run for run in runs if run.finished.outcome is not WELL]
        self._tally.add(len(runs) - len(others), EXECUTIONS, task, SUCCEEDED)
        for run in others:
            self._tally.add(1, EXECUTIONS, task, self._outcome_of(run))
        origin = self._clock.at(0.0)
        late_s = [
            started_at - (execution.execution_time - origin).total_seconds()
            for (execution, _, started_at, *_), _ in runs
        ]
        self._tally.observe(late_s, LATENESS, task)
        self._tally.observe([finished.duration_s for finished, _ in runs], DURATION, task)

    def _outcome_of(self, run: Run) -> str:
        match run.decided.completion:
            case MoveToFailed():
                return GIVEN_UP
            case Crash(execution=execution):
                is_buried = execution.crashes + 1 >= self._max_crashes
                return GIVEN_UP if is_buried else FAILED
            case Reschedule(has_succeeded=False):
                return FAILED
            case Release():
                return INTERRUPTED
            case _:
                return SUCCEEDED


def counting(tally: Tally | None, clock: Clock, *, max_crashes: int) -> Counting | None:
    """Nobody counts where there is nothing to count in."""
    return Counting(tally, clock, max_crashes=max_crashes) if tally is not None else None
