"""PgQueuer: asyncpg, a hundred a batch, uvloop; plain functions by asyncio.to_thread, as its documentation has it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import uvloop
from harness import MARKS, chunks, main
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class PgQueuerPeer:
    async def setup(self, dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        await Queries(AsyncpgDriver(connection)).install()
        await connection.close()

    @asynccontextmanager
    async def producer(self, dsn: str) -> AsyncIterator[Producer]:
        connection = await asyncpg.connect(dsn)
        yield Producer(Queries(AsyncpgDriver(connection)))
        await connection.close()

    def work(self, dsn: str) -> None:
        uvloop.run(_work(dsn))


async def _work(dsn: str) -> None:
    queuer = PgQueuer.from_asyncpg_connection(await asyncpg.connect(dsn))

    @queuer.entrypoint("noop")
    async def noop(job: Job) -> None:
        MARKS.count()

    @queuer.entrypoint("noop-def")
    async def noop_def(job: Job) -> None:
        await asyncio.to_thread(MARKS.count)

    @queuer.entrypoint("mark")
    async def mark(job: Job) -> None:
        MARKS.mark(job.payload.decode())

    await queuer.run(batch_size=100)


class Producer:
    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def many(self, task: str, count: int) -> None:
        async for chunk in chunks(count):
            n = len(chunk)
            await self._queries.enqueue([task] * n, [None] * n, [0] * n)

    async def one(self, task: str, data: str) -> None:
        await self._queries.enqueue(task, data.encode())


if __name__ == "__main__":
    main(PgQueuerPeer())
