"""The event loop of async tasks, in a thread of its own: a task that blocks it delays other async tasks only."""

from __future__ import annotations

import asyncio
import math
import selectors
import threading
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any

from pgsched.worker.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pgsched.domain.execution import Held

LOOP_BLOCKED_S = 5.0

POLL_S = 0.001
"""A busy loop asks the system for news as often as this. It would each turn, of ten quick runs: 1.2 of their 9 µs."""


class _Selector(selectors.DefaultSelector):
    """Answers that there is no news where the loop wouldn't wait for it, and has asked just now."""

    _asked_at = -math.inf

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        now = monotonic()
        if timeout is not None and timeout <= 0 and now < self._asked_at + POLL_S:
            return []
        self._asked_at = now
        return super().select(timeout)


class LoopThread:
    """Started when the first async run comes; never ended but with its process."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_at: float | None = None
        self._is_told_blocked = False
        self._tasks: dict[int, tuple[Held, asyncio.Task[Any]]] = {}

    def newly_blocked(self) -> str | None:
        """Asks the loop for a sign of life, and names the task that has kept it from answering for seconds."""
        if self._loop is None or not self._tasks:
            return None
        if self._asked_at is None:
            self._asked_at = monotonic()
            self._loop.call_soon_threadsafe(self._answer)
        elif monotonic() - self._asked_at > LOOP_BLOCKED_S and not self._is_told_blocked:
            self._is_told_blocked = True
            task = asyncio.current_task(self._loop)
            return "unknown" if task is None else task.get_name()
        return None

    def _answer(self) -> None:
        self._asked_at = None
        self._is_told_blocked = False

    def call(self, function: Callable[[list[Held]], None], executions: list[Held]) -> None:
        """Have the loop call it; from any thread."""
        if self._loop is None:
            self._loop = _new_loop()
            threading.Thread(target=self._run, name="pgsched-loop", daemon=True).start()
        self._loop.call_soon_threadsafe(function, executions)

    def _run(self) -> None:
        """Whatever ends the loop, other runs wait on it: users' code may stop it, and exits in its subtasks end it."""
        assert self._loop is not None
        while not self._loop.is_closed():
            with suppress(BaseException):
                self._loop.run_forever()

    def start(self, execution: Held, run: Coroutine[Any, Any, None]) -> None:
        """Make a task of the coroutine that runs an execution; on the loop's thread."""
        assert self._loop is not None
        # With a context of its own: it may be started by the one that has just ended.
        task = self._loop.create_task(run, name=execution.task_name, context=Context())
        self._tasks[id(execution)] = (execution, task)

    def note_end(self, execution: Held) -> None:
        """Its task is about to end. (A callback of the task's would cost as much as the rest of a quick run.)"""
        self._tasks.pop(id(execution), None)

    def take_stillborn(self) -> list[Held]:
        """Those whose tasks are done and have not noted their end."""
        done = [execution for execution, task in list(self._tasks.values()) if task.done()]
        for execution in done:
            self.note_end(execution)
        return done

    def cancel_all(self) -> None:
        """Cancel every run; from any thread."""
        running = [task for _, task in list(self._tasks.values())]
        if self._loop is not None:
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in running])


def _new_loop() -> asyncio.AbstractEventLoop:
    """The loop that there would be anywhere, with all that the user's policy has set on it.

    Only its selector learns to be spared; where it has none of the usual kind (uvloop) it stays as it is.
    """
    loop = asyncio.new_event_loop()
    selector = getattr(loop, "_selector", None)
    if type(selector) is selectors.DefaultSelector:
        selector.__class__ = _Selector
    return loop
