"""Looking again and again for what a broken conversation may have left.

One look is not enough: the server may still be at a statement whose client is gone, and commit it later.
"""

from __future__ import annotations

import math

from pgsched.worker.clock import monotonic

LOOKS_S = (0.0, 0.2, 0.8, 4.0, 10.0)
"""Pauses before each look, longer in all than the statement timeout: nothing can come later."""


class Looks:
    """When to look, with a pause before each."""

    def __init__(self, pauses_s: tuple[float, ...] = ()) -> None:
        self.made = 0
        self.begin(pauses_s)

    @property
    def wait_s(self) -> float:
        """Seconds until the next look; infinite after the last."""
        return max(0.0, self._next_at - monotonic())

    def begin(self, pauses_s: tuple[float, ...] = LOOKS_S) -> None:
        """Something broke just now."""
        self._left = pauses_s
        self._pause()

    def note_look(self) -> None:
        """One look is done."""
        self.made += 1
        self._left = self._left[1:]
        self._pause()

    def put_off(self, pause_s: float) -> None:
        """The next look can't be made now: the same one again, a little later."""
        self._next_at = monotonic() + pause_s

    def _pause(self) -> None:
        self._next_at = monotonic() + self._left[0] if self._left else math.inf
