"""Who asks for what with SIGHUP: a terminal that is closed ends what runs on it, everybody else wants a reload."""

from __future__ import annotations

import math
import os
import signal

from pgsched.worker.clock import monotonic

CLOSING_S = 5.0
"""A shell whose terminal is closed tells its jobs within moments."""


class Terminal:
    """The one that this process was started on, if any. Never opens one, never writes."""

    def __init__(self) -> None:
        self._gone_since = math.inf if _is_there() else -math.inf

    def look(self) -> None:
        """To be called now and then: who outlives its terminal was disowned, and is nobody's to hang up on."""
        if self._gone_since == math.inf and not _is_there():
            self._gone_since = monotonic()

    @property
    def is_closing(self) -> bool:
        """Whether a SIGHUP of now is its end. Not for a process that never had one."""
        return monotonic() - self._gone_since < CLOSING_S and not _is_there()


class EarlyHangUp:
    """What happens at SIGHUP before there is a supervisor: a wish for a reload is remembered, not died of."""

    def __init__(self) -> None:
        self._terminal = Terminal()
        self.is_remembered = False

    def __call__(self, number: int, _frame: object) -> None:
        if self._terminal.is_closing:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.is_remembered = True


def heed_early_hang_ups() -> None:
    """From now on, unless SIGHUP is ignored (nohup)."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, EarlyHangUp())


def _is_there() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
