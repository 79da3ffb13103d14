"""Chancy: eager polling; 100 coroutines in its asyncio executor, 10 threads for plain functions."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import uvloop
from chancy import Chancy, Queue, Worker, job
from harness import MARKS, main

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@job(queue="coroutines")
async def noop() -> None:
    MARKS.count()


@job(queue="threads")
def noop_def() -> None:
    MARKS.count()


@job(queue="coroutines")
async def mark(*, data: str) -> None:
    MARKS.mark(data)


TASKS = {"noop": noop, "noop-def": noop_def}
QUEUES = (
    Queue("coroutines", concurrency=100, executor=Chancy.Executor.Async, eager_polling=True),
    Queue("threads", concurrency=10, executor=Chancy.Executor.Threaded, eager_polling=True),
)


def _app(dsn: str) -> Chancy:
    log = logging.getLogger("quiet")
    log.setLevel(logging.WARNING)
    return Chancy(dsn, log=log)


class ChancyPeer:
    async def setup(self, dsn: str) -> None:
        async with _app(dsn) as app:
            await app.migrate()
            for queue in QUEUES:
                await app.declare(queue, upsert=True)

    @asynccontextmanager
    async def producer(self, dsn: str) -> AsyncIterator[Producer]:
        async with _app(dsn) as app:
            yield Producer(app)

    def work(self, dsn: str) -> None:
        async def run() -> None:
            async with _app(dsn) as app, Worker(app) as worker:
                await worker.wait_for_shutdown()

        uvloop.run(run())


class Producer:
    def __init__(self, app: Chancy) -> None:
        self._app = app

    async def many(self, task: str, count: int) -> None:
        jobs = [TASKS[task].job] * count
        async for _ in self._app.push_many(jobs, batch_size=1000):
            pass

    async def one(self, task: str, data: str) -> None:
        await self._app.push(mark.job.with_kwargs(data=data))


if __name__ == "__main__":
    main(ChancyPeer())
