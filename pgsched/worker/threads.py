"""The threads of a poller that plain functions run in.

They are never joined: a function that hangs must not keep its process from ending.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgsched.domain.execution import Held


class Threads:
    """Threads made as more executions run at once than there are threads, up to one a slot."""

    def __init__(self, run: Callable[[Held], None], *, limit: int) -> None:
        self._run = run
        self._limit = limit
        self._given: SimpleQueue[Held] = SimpleQueue()
        self._counting = threading.Lock()
        self._outstanding = 0
        self._made = 0

    def give(self, execution: Held) -> None:
        """Run it on a thread; from any thread."""
        with self._counting:
            self._outstanding += 1
            is_short = self._made < min(self._outstanding, self._limit)
            self._made += is_short
        if is_short:
            threading.Thread(
                target=self._work, name=f"pgsched-task-{self._made}", daemon=True
            ).start()
        self._given.put(execution)

    def _work(self) -> None:
        while True:
            self._run(self._given.get())
            with self._counting:
                self._outstanding -= 1
