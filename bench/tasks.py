"""The task module of the benchmarks: tasks that do nothing, that say when they started, and that take a while."""

from __future__ import annotations

import asyncio
import os
import time

from pgsched import Every, ExecutionContext, one_time, recurring


@one_time("noop-async")
async def noop_async() -> None: ...


@one_time("noop-def")
def noop_def() -> None: ...


@recurring("noop-recurring", schedule=Every(hours=1))
async def noop_recurring() -> None: ...


@one_time("mark")
def mark(data: str, context: ExecutionContext) -> None:
    """Append the instance and the instant of the start to the file that the data names: one short write, whole."""
    started = time.time()
    file = os.open(data, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{context.task_instance} {os.getpid()} {started}\n".encode())
    os.close(file)


@one_time("a-second")
def a_second(data: str, context: ExecutionContext) -> None:
    """As `mark`, and then busy with something else for a second."""
    mark(data, context)
    time.sleep(1)


@one_time("for-minutes")
async def for_minutes() -> None:
    await asyncio.sleep(600)
