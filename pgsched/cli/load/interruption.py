"""Ctrl-C and SIGTERM while a file is loaded: at once while it is read, after the chunk while that is written.

A chunk that is cut off may be committed or not, and nobody could be told up to where the file is loaded.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from pgsched.cli.exits import ExitStatus
from pgsched.errors import Terminated

if TYPE_CHECKING:
    from collections.abc import Generator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Within it a signal raises KeyboardInterrupt or SystemExit; a second one does so whatever is going on."""

    def __init__(self) -> None:
        self._is_held_back = False
        self._asked: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:  # a shell's background job is not to hear Ctrl-C
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @contextmanager
    def held_back(self) -> Generator[None]:
        """Nothing interrupts what happens within, but for a second signal."""
        self._is_held_back = True
        try:
            yield
        finally:
            self._is_held_back = False
        if self._asked is not None:
            raise _ending(self._asked)

    def _hear(self, number: int, _frame: object) -> None:
        if self._is_held_back and self._asked is None:
            self._asked = number
            return
        raise _ending(number)


def _ending(number: int) -> BaseException:
    if number == signal.SIGINT:
        return KeyboardInterrupt()
    return Terminated(ExitStatus.TERMINATED)
