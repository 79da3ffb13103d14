"""Procrastinate: ten at a time (more is slower here), successful jobs deleted, notifications on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import procrastinate
import uvloop
from harness import MARKS, chunks, main

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def _app(dsn: str) -> procrastinate.App:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))

    @app.task(name="noop")
    async def noop() -> None:
        MARKS.count()

    @app.task(name="noop-def")
    def noop_def() -> None:
        MARKS.count()

    @app.task(name="mark")
    async def mark(data: str) -> None:
        MARKS.mark(data)

    return app


class Procrastinate:
    async def setup(self, dsn: str) -> None:
        async with _app(dsn).open_async() as app:
            await app.schema_manager.apply_schema_async()

    @asynccontextmanager
    async def producer(self, dsn: str) -> AsyncIterator[Producer]:
        async with _app(dsn).open_async() as app:
            yield Producer(app)

    def work(self, dsn: str) -> None:
        async def run() -> None:
            async with _app(dsn).open_async() as app:
                await app.run_worker_async(concurrency=10, delete_jobs="successful")

        uvloop.run(run())


class Producer:
    def __init__(self, app: procrastinate.App) -> None:
        self._app = app

    async def many(self, task: str, count: int) -> None:
        async for chunk in chunks(count):
            await self._app.tasks[task].batch_defer_async(*({} for _ in chunk))

    async def one(self, task: str, data: str) -> None:
        await self._app.tasks[task].defer_async(data=data)


if __name__ == "__main__":
    main(Procrastinate())
