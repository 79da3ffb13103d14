"""Awa: 200 workers on its queue, a look each 50 ms, jobs entered by COPY."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awa import AsyncClient
from harness import MARKS, chunks, main

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class Noop:
    number: int


@dataclass
class Mark:
    data: str


class AwaPeer:
    async def setup(self, dsn: str) -> None:
        client = _client(dsn)
        await client.migrate()
        await client.install_queue_storage()
        await client.close()

    @asynccontextmanager
    async def producer(self, dsn: str) -> AsyncIterator[Producer]:
        client = _client(dsn)
        yield Producer(client)
        await client.close()

    def work(self, dsn: str) -> None:
        asyncio.run(_work(dsn))


def _client(dsn: str) -> AsyncClient:
    return AsyncClient(dsn.replace("@/", "@localhost/"))  # it wants a host, also beside a socket


async def _work(dsn: str) -> None:
    client = _client(dsn)

    @client.task(Noop, queue="default")
    async def noop(job: Any) -> None:
        MARKS.count()

    @client.task(Mark, queue="default")
    async def mark(job: Any) -> None:
        MARKS.mark(job.args.data)

    await client.start([("default", 200)], poll_interval_ms=50, queue_storage_schema="awa")
    await asyncio.Event().wait()


class Producer:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def many(self, task: str, count: int) -> None:
        async for chunk in chunks(count):
            await self._client.enqueue_many_copy([Noop(n) for n in chunk], queue="default")

    async def one(self, task: str, data: str) -> None:
        await self._client.insert(Mark(data), queue="default")


if __name__ == "__main__":
    main(AwaPeer())
