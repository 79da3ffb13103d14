"""What the workers run. Each run writes a line at its start and one at its end, into a log of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pgsched import Cron, Every, ExecutionContext, FixedDelay, one_time, recurring

if TYPE_CHECKING:
    from collections.abc import Generator

SOON = FixedDelay(timedelta(milliseconds=200))


def write(context: ExecutionContext, what: str) -> None:
    """One line, in one write: when, in which process of which worker, what, of what, with which token, due when."""
    words = (
        f"{time.monotonic():.6f}",
        str(os.getpid()),
        os.environ["CHAOS_WORKER"],
        what,
        context.task_name,
        context.task_instance,
        str(context.fencing_token),
        f"{context.execution_time.timestamp():.6f}",
    )
    file = os.open(os.environ["CHAOS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, (" ".join(words) + "\n").encode())
    os.close(file)


@contextmanager
def logged(context: ExecutionContext) -> Generator[None]:
    write(context, "start")
    try:
        yield
    except BaseException:
        write(context, "failed")
        raise
    write(context, "end")


@one_time("quick", on_failure=SOON)
def quick(data: Any, context: ExecutionContext) -> None:
    with logged(context):
        pass


@one_time("quick-async", on_failure=SOON)
async def quick_async(data: Any, context: ExecutionContext) -> None:
    with logged(context):
        pass


@one_time("slow", on_failure=SOON)
def slow(data: float, context: ExecutionContext) -> None:
    with logged(context):
        time.sleep(data)


@one_time("slow-async", on_failure=SOON)
async def slow_async(data: float, context: ExecutionContext) -> None:
    with logged(context):
        await asyncio.sleep(data)


@one_time("isolated", on_failure=SOON, isolation="process")
def isolated(data: float, context: ExecutionContext) -> None:
    with logged(context):
        time.sleep(data)


@one_time("flaky", on_failure=SOON)
def flaky(data: Any, context: ExecutionContext) -> None:
    with logged(context):
        if context.attempt == 1:
            raise RuntimeError("the first time")


@one_time("parent", on_failure=SOON)
def parent(data: Any, context: ExecutionContext) -> None:
    with logged(context):
        context.schedule("quick", f"child-of-{context.task_instance}")


@one_time("exact", on_failure=SOON)
def exact(data: float, context: ExecutionContext) -> None:
    with logged(context), context.transaction() as connection:
        connection.execute("insert into effects (instance) values (%s)", [context.task_instance])
        time.sleep(data)


@one_time("poison", on_failure=SOON)
def poison(data: float, context: ExecutionContext) -> None:
    write(context, "start")
    time.sleep(data)
    os.kill(os.getpid(), signal.SIGKILL)


@recurring("tick", schedule=Every(milliseconds=300), on_failure=SOON)
def tick(data: Any, context: ExecutionContext) -> None:
    with logged(context):
        time.sleep(0.05)


@recurring("second", schedule=Cron("* * * * * *"), on_failure=SOON)
def second(data: Any, context: ExecutionContext) -> None:
    with logged(context):
        pass
