"""Which runs last longer than they may.

Begun and ended by the threads that run them, looked at by the poller's own, which changes nothing: a run that ends in
the moment of a look would be put back among those that run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pgsched.worker.clock import monotonic

if TYPE_CHECKING:
    from pgsched.domain.execution import Held, RunKey


class Deadlines:
    """The runs that have a limit."""

    def __init__(self) -> None:
        self._running: dict[RunKey, tuple[Held, float]] = {}
        self._told: frozenset[RunKey] = frozenset()

    def begin(self, execution: Held, allowed_s: float) -> None:
        self._running[execution.key] = (execution, monotonic() + allowed_s)

    def end(self, execution: Held) -> None:
        self._running.pop(execution.key, None)

    @property
    def next_in_s(self) -> float:
        """Seconds until the next one will have lasted too long; infinite for none."""
        untils = [until for key, (_, until) in list(self._running.items()) if key not in self._told]
        return min(untils, default=math.inf) - monotonic()

    @property
    def over(self) -> list[Held]:
        """All that run longer than they may."""
        now = monotonic()
        return [execution for execution, until in list(self._running.values()) if until <= now]

    def newly_over(self) -> list[Held]:
        """Those of them that have not been told yet."""
        over = self.over
        new = [execution for execution in over if execution.key not in self._told]
        self._told = frozenset(execution.key for execution in over)
        return new
