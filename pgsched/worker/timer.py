"""What comes round every so many seconds."""

from __future__ import annotations

import random

from pgsched.worker.clock import monotonic


class Timer:
    """Comes round every so many seconds, the first time at once."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next_at = 0.0

    @property
    def wait_s(self) -> float:
        return max(0.0, self._next_at - monotonic())

    def restart(self, wait_s: float | None = None) -> None:
        """Round again, a little early at random: many workers do not move in step."""
        wait_s = self._every_s * random.uniform(0.9, 1.0) if wait_s is None else wait_s
        self._next_at = monotonic() + wait_s
