"""Ends this process when its worker is out of touch, by a timer of the kernel's: nobody else needs to be there for it.

A supervisor can be stopped together with all its processes, and go on after them. A timer that ran out meanwhile ends a
process before it does anything more. Where a task holds the GIL for so long that nobody pushes it on, it burns too.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BURNT = signal.SIGALRM
LONGEST_ROUND_S = 1.0
SHORTEST_S = 0.001


def light(left_s: Callable[[], float]) -> None:
    """From the main thread. `left_s` tells for how many seconds this process may go on; it is asked again and again."""
    signal.signal(BURNT, signal.SIG_DFL)
    _push_on(left_s)
    threading.Thread(target=_keep, args=[left_s], name="pgsched-fuse", daemon=True).start()


def _keep(left_s: Callable[[], float]) -> None:
    while True:
        threading.Event().wait(min(LONGEST_ROUND_S, max(SHORTEST_S, left_s() / 8)))
        _push_on(left_s)


def _push_on(left_s: Callable[[], float]) -> None:
    signal.setitimer(signal.ITIMER_REAL, max(SHORTEST_S, left_s()))
