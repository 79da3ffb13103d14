"""The loop of async tasks: whose it is, and that it hears of the world while it is busy."""

from __future__ import annotations

import asyncio
import socket
from queue import SimpleQueue
from typing import TYPE_CHECKING

from pgsched.worker.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

TURNS = 20_000


def on_loop(work: Callable[[asyncio.AbstractEventLoop], None]) -> None:
    """Have a thread of tasks call it, with its loop."""
    LoopThread().call(lambda _: work(asyncio.get_running_loop()), [])


def test_a_busy_loop_hears_what_comes_meanwhile() -> None:
    heard: SimpleQueue[int] = SimpleQueue()
    ours, theirs = socket.socketpair()

    def busy(loop: asyncio.AbstractEventLoop, turns: int) -> None:
        if turns == TURNS:
            theirs.send(b"news")
        if turns:
            loop.call_soon(busy, loop, turns - 1)
        else:
            heard.put(0)

    def listen(loop: asyncio.AbstractEventLoop) -> None:
        loop.add_reader(ours, lambda: heard.put(len(ours.recv(9))))
        busy(loop, TURNS)

    with ours, theirs:
        on_loop(listen)
        assert [heard.get(timeout=30) for _ in range(2)] == [4, 0]


def test_the_loop_is_of_the_kind_that_the_users_policy_makes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Theirs(asyncio.SelectorEventLoop):
        pass

    used: SimpleQueue[type] = SimpleQueue()
    monkeypatch.setattr(asyncio, "new_event_loop", Theirs)
    on_loop(lambda loop: used.put(type(loop)))
    assert used.get(timeout=30) is Theirs


def test_what_the_users_policy_has_set_on_its_loop_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without, a loop of the plain kind was replaced by one of ours."""
    theirs = asyncio.SelectorEventLoop()
    used: SimpleQueue[asyncio.AbstractEventLoop] = SimpleQueue()
    monkeypatch.setattr(asyncio, "new_event_loop", lambda: theirs)
    on_loop(used.put)
    assert used.get(timeout=30) is theirs
