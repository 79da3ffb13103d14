"""The executions that this poller answers for: added by a pick, let go by a receipt, whatever the receipt says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgsched.domain.execution import Held, RunKey

PREFETCH_S = 0.05
"""Executions are picked ahead of a free slot only as far as they will start within this, judged by how long runs took
lately: what waits here can't be run by a poller that is idle. Ten slots of 1 ms tasks are worth a full batch ahead;
tasks of a second are worth none."""

SMOOTHING = 0.1


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
    def room(self) -> int:
        """How many executions the next pick may take."""
        return min(self._batch_size, self._concurrency + self._prefetch() - len(self._held))

    def add(self, executions: Iterable[Held]) -> None:
        self._held.update((execution.key, execution) for execution in executions)

    def let_go(self, execution: Held) -> None:
        self._held.pop(execution.key, None)

    def note_run(self, duration_s: float) -> None:
        """Learn how long runs take."""
        if self._usual_run_s is None:
            self._usual_run_s = duration_s
        self._usual_run_s += SMOOTHING * (duration_s - self._usual_run_s)

    def _prefetch(self) -> int:
        if self._usual_run_s is None:
            return 0
        return min(
            self._batch_size, int(self._concurrency * PREFETCH_S / max(self._usual_run_s, 1e-6))
        )
