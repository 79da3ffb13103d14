"""Oban for Python: a limit of 1,000 (a job that does nothing wants a wide queue), uvloop as its command line has it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvloop
from harness import MARKS, chunks, main
from oban import Oban, worker
from oban.schema import install
from psycopg_pool import AsyncConnectionPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@worker(queue="default")
class Noop:
    async def process(self, job: Any) -> None:
        MARKS.count()


@worker(queue="default")
class Mark:
    async def process(self, job: Any) -> None:
        MARKS.mark(job.args["data"])


class ObanPeer:
    async def setup(self, dsn: str) -> None:
        async with _pool(dsn) as pool:
            await install(pool)

    @asynccontextmanager
    async def producer(self, dsn: str) -> AsyncIterator[Producer]:
        async with _pool(dsn) as pool, Oban(pool=pool) as oban:
            yield Producer(oban)

    def work(self, dsn: str) -> None:
        async def run() -> None:
            async with _pool(dsn) as pool, Oban(pool=pool, queues={"default": 1000}):
                await asyncio.Event().wait()

        uvloop.run(run())


def _pool(dsn: str) -> AsyncConnectionPool:
    return AsyncConnectionPool(dsn, min_size=1, max_size=10, open=False)


class Producer:
    def __init__(self, oban: Oban) -> None:
        self._oban = oban

    async def many(self, task: str, count: int) -> None:
        async for chunk in chunks(count):
            await self._oban.enqueue_many([Noop.new({}) for _ in chunk])

    async def one(self, task: str, data: str) -> None:
        await self._oban.enqueue(Mark.new({"data": data}))


if __name__ == "__main__":
    main(ObanPeer())
