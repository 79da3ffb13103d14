"""pgsched itself, with its default config: one worker of two pollers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness import MARKS, chunks, main

from pgsched import AsyncClient, one_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONFIG = """
database: {{dsn: "{dsn}"}}
tasks: {{modules: [with_pgsched]}}
worker: {{processes: 2}}
logging: {{level: warning}}
"""


@one_time("noop")
async def noop() -> None:
    MARKS.count()


@one_time("noop-def")
def noop_def() -> None:
    MARKS.count()


@one_time("mark")
async def mark(data: str) -> None:
    MARKS.mark(data)


class Pgsched:
    async def setup(self, dsn: str) -> None:
        subprocess.run([sys.executable, "-m", "pgsched", "migrate", "--dsn", dsn], check=True)

    @asynccontextmanager
    async def producer(self, dsn: str) -> AsyncIterator[Producer]:
        async with AsyncClient(dsn) as client:
            yield Producer(client)

    def work(self, dsn: str) -> None:
        config = Path(tempfile.mkdtemp(dir=os.environ["PEERS_MARKS"]), "pgsched.yaml")
        config.write_text(CONFIG.format(dsn=dsn))
        command = [sys.executable, "-m", "pgsched", "worker", "--config", str(config)]
        os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": str(Path(__file__).parent)})


class Producer:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def many(self, task: str, count: int) -> None:
        async for chunk in chunks(count):
            await self._client.schedule_many([(task, str(n)) for n in chunk])

    async def one(self, task: str, data: str) -> None:
        await self._client.schedule(task, data, data)


if __name__ == "__main__":
    main(Pgsched())
