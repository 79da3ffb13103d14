"""The task module of the benchmarks: tasks that do nothing, and one that says when it started."""

from __future__ import annotations

import os
import time

from pgsched import one_time


@one_time("noop-async")
async def noop_async() -> None: ...


@one_time("noop-def")
def noop_def() -> None: ...


@one_time("mark")
def mark(data: str) -> None:
    """Append the instant of the start to the file that the data names: one short write, whole by O_APPEND."""
    started = time.time()
    file = os.open(data, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{started}\n".encode())
    os.close(file)
