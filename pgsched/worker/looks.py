"""Looking again and again for what a broken conversation may have left.

One look is not enough: the server may still be at a statement whose client is gone, and commit it later.
"""

from __future__ import annotations

import math

from pgsched.worker.clock import monotonic

LOOKS_S = (0.0, 0.2, 0.8, 4.0, 30.0)
"""Pauses before each look. Thirty seconds is the statement timeout: nothing can come later."""


class Looks:
    """When to look, after something broke."""

    def __init__(self) -> None:
        self._left: tuple[float, ...] = ()
        self._next_at = math.inf

    @property
    def wait_s(self) -> float:
        return max(0.0, self._next_at - monotonic())

    def begin(self) -> None:
        """Something broke just now."""
        self._left = LOOKS_S
        self._schedule()

    def note_look(self) -> None:
        """One look is done."""
        self._left = self._left[1:]
        self._schedule()

    def _schedule(self) -> None:
        self._next_at = monotonic() + self._left[0] if self._left else math.inf
