"""What the adapters in Python have in common. Runs in the peer's own environment: nothing but the standard library.

    with_peer.py setup DSN              make the tables, declare the queue
    with_peer.py enqueue DSN TASK N     so many no-ops at once; prints the seconds it took
    with_peer.py trickle DSN N PAUSE    one by one with a pause; prints each number, and when its call began and ended
    with_peer.py work DSN               run executions until killed

Tasks: `noop` (async def), `noop-def` (a plain function) and `mark` (async def), which takes a string.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
import sys
import time
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

CHUNK = 1000


class Producer(Protocol):
    async def many(self, task: str, count: int) -> None: ...

    async def one(self, task: str, data: str) -> None: ...


class Peer(Protocol):
    async def setup(self, dsn: str) -> None: ...

    def producer(self, dsn: str) -> AbstractAsyncContextManager[Producer]: ...

    def work(self, dsn: str) -> None: ...


class Marks:
    """How many runs this process has begun, and when the first: in shared memory, as cheap as it gets."""

    def __init__(self) -> None:
        self._folder = Path(os.environ["PEERS_MARKS"])
        self._map: mmap.mmap | None = None
        self._count = 0
        self._lock = Lock()

    def count(self) -> None:
        with self._lock:
            if self._map is None:
                self._map = self._opened()
            self._count += 1
            struct.pack_into("<q", self._map, 8, self._count)

    def mark(self, number: str) -> None:
        started = time.time()
        file = os.open(self._folder / "marks", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{number} {started}\n".encode())
        os.close(file)

    def _opened(self) -> mmap.mmap:
        path = self._folder / f"starts.{os.getpid()}"
        path.write_bytes(struct.pack("<dq", time.time(), 0))
        with path.open("r+b") as file:
            return mmap.mmap(file.fileno(), 16)


MARKS = Marks()


async def chunks(count: int) -> AsyncIterator[range]:
    for start in range(0, count, CHUNK):
        yield range(start, min(count, start + CHUNK))


def main(peer: Peer) -> None:
    verb, dsn, *rest = sys.argv[1:]
    match verb:
        case "setup":
            asyncio.run(peer.setup(dsn))
        case "enqueue":
            print(asyncio.run(_enqueue(peer, dsn, rest[0], int(rest[1]))))
        case "trickle":
            asyncio.run(_trickle(peer, dsn, int(rest[0]), float(rest[1])))
        case "work":
            peer.work(dsn)


async def _enqueue(peer: Peer, dsn: str, task: str, count: int) -> float:
    async with peer.producer(dsn) as producer:
        started = time.monotonic()
        await producer.many(task, count)
        return time.monotonic() - started


async def _trickle(peer: Peer, dsn: str, count: int, pause_s: float) -> None:
    async with peer.producer(dsn) as producer:
        for number in range(count):
            if pause_s:
                await asyncio.sleep(pause_s)
            called = time.time()
            await producer.one("mark", str(number))
            print(number, called, time.time())
