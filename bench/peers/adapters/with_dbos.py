"""DBOS: its queue looked at each 0.1 s. It keeps a durable record of each workflow: it does more than the others."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from dbos import DBOS, DBOSClient, DBOSConfig
from harness import MARKS, main

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUEUE = "default"


def _launch(dsn: str) -> None:
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": dsn,
        "log_level": "WARNING",
        "application_version": "1",
    }
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(QUEUE, polling_interval_sec=0.1)


@DBOS.workflow(name="noop")
async def noop() -> None:
    MARKS.count()


@DBOS.workflow(name="noop-def")
def noop_def() -> None:
    MARKS.count()


@DBOS.workflow(name="mark")
async def mark(data: str) -> None:
    MARKS.mark(data)


class DbosPeer:
    async def setup(self, dsn: str) -> None:
        await asyncio.to_thread(_launch, dsn)
        await asyncio.to_thread(DBOS.destroy)

    @asynccontextmanager
    async def producer(self, dsn: str) -> AsyncIterator[Producer]:
        yield Producer(DBOSClient(system_database_url=dsn))

    def work(self, dsn: str) -> None:
        _launch(dsn)
        signal.pause()


class Producer:
    def __init__(self, client: DBOSClient) -> None:
        self._client = client

    async def many(self, task: str, count: int) -> None:
        await asyncio.to_thread(self._many, task, count)

    def _many(self, task: str, count: int) -> None:
        for _ in range(count):
            self._client.enqueue(_options(task))

    async def one(self, task: str, data: str) -> None:
        await asyncio.to_thread(self._client.enqueue, _options(task), data)


def _options(task: str) -> dict[str, str]:
    return {"workflow_name": task, "queue_name": QUEUE, "app_version": "1"}


if __name__ == "__main__":
    main(DbosPeer())
