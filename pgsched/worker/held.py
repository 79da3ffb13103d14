"""The executions that this poller answers for: added by a pick, let go by a receipt, whatever the receipt says.

And how many more are worth holding. One that waits here can't be run by a poller that is idle, and one that isn't here
when a slot is free costs a round trip: so as many are held ahead of the slots as will start within moments, judged by
how long runs took lately. Ten slots of tasks that do nothing are worth hundreds ahead; tasks of a second none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pgsched.domain.execution import Held, RunKey

PREFETCH_S = 0.025
"""Executions are picked ahead of a free slot only as far as they will start within this."""

LARGEST_PICK = 500
"""Past this a pick gains nothing (measured: 83,000/s at 100, 173,000 at 250, 202,000 at 500), and all of it would be
late together if this poller died."""

SMOOTHING = 0.1
"""What one run weighs in the usual duration."""

QUICK_RUN_S = 0.0005
"""Runs this quick are over before another thread has woken up."""


class Holding:
    """What is held, and how much more is worth holding."""

    def __init__(self, *, concurrency: int, batch_size: int) -> None:
        self._concurrency = concurrency
        self._batch_size = batch_size
        self._held: dict[RunKey, Held] = {}
        self._usual_run_s: float | None = None

    def __len__(self) -> int:
        return len(self._held)

    @property
    def keys(self) -> Collection[RunKey]:
        return self._held.keys()

    @property
    def room(self) -> int:
        """How many executions the next pick may take; 0 while more than half of what is held ahead is still there."""
        prefetch = self._prefetch()
        wanted = self._concurrency + prefetch - len(self._held)
        if wanted < prefetch / 2:
            return 0
        return min(wanted, max(self._batch_size, prefetch))

    @property
    def is_quick(self) -> bool:
        """Whether runs usually take next to no time."""
        return self._usual_run_s is not None and self._usual_run_s < QUICK_RUN_S

    def add(self, executions: list[Held]) -> list[Held]:
        """Answers those to start: not one that is held already, by the same version. A failover may have lost the pick
        of a run that is still going on; picked once more, it is that run's to complete.
        """
        keys = [execution.key for execution in executions]
        if not self._held.keys().isdisjoint(keys):
            executions = [each for each in executions if each.key not in self._held]
            keys = [execution.key for execution in executions]
        self._held.update(zip(keys, executions, strict=True))
        return executions

    def let_go(self, executions: Iterable[Held]) -> None:
        for execution in executions:
            self._held.pop(execution.key, None)

    def note_runs(self, durations_s: Sequence[float]) -> None:
        """Learn how long runs take."""
        if not durations_s:
            return
        mean = sum(durations_s) / len(durations_s)
        if self._usual_run_s is None:
            self._usual_run_s = mean
        weight = 1 - (1 - SMOOTHING) ** len(durations_s)
        self._usual_run_s += weight * (mean - self._usual_run_s)

    def note_stall(self) -> None:
        """What was held ahead had to wait too long: hold none until runs prove quick again."""
        self._usual_run_s = max(self._usual_run_s or 0.0, 2 * self._concurrency * PREFETCH_S)

    def _prefetch(self) -> int:
        if self._usual_run_s is None:
            return 0
        return min(LARGEST_PICK, int(self._concurrency * PREFETCH_S / max(self._usual_run_s, 1e-6)))
