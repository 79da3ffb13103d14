"""What a poller counts as it goes: of some 70,000 runs a second, so turn by turn, for all that ended in one.

(Measured: 0.5 µs a run, beside 0.9 where each is counted by itself.)
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
    from collections.abc import Sequence

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
        self._origin = clock.at(0.0)
        self._ended: defaultdict[tuple[str, str], tuple[list[float], list[float]]] = defaultdict(
            lambda: ([], [])
        )
        self._memory = Timer(MEMORY_S)

    def note_answered(self, runs: Sequence[Run], receipt: Receipt) -> None:
        """Completions have their receipt. What was handed back without having run is no run."""
        self._written += len(runs)
        for run in runs:
            execution, outcome, started_at, duration_s, _, _ = run.finished
            if receipt is not CHANGED:
                self._tally.add(1, STALE, execution.task_name)
            elif started_at:
                counted = SUCCEEDED if outcome is WELL else self._outcome_of(run)
                durations_s, latenesses_s = self._ended[execution.task_name, counted]
                durations_s.append(duration_s)
                due_s = (execution.execution_time - self._origin).total_seconds()
                latenesses_s.append(started_at - due_s)

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
        self._origin = self._clock.at(0.0)
        self._tally.note(busy, SLOTS_BUSY)
        if not self._memory.wait_s:
            self._memory.restart()
            self._tally.note(resident_bytes(), RESIDENT, "poller")

    def _count_ended(self) -> None:
        for (task, outcome), (durations_s, latenesses_s) in self._ended.items():
            self._tally.add(len(durations_s), EXECUTIONS, task, outcome)
            self._tally.observe(durations_s, DURATION, task)
            self._tally.observe(latenesses_s, LATENESS, task)
        self._ended.clear()

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
