"""A task module of the worst kind. What each task does to its worker is its name."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pathlib
import resource
import sys
import threading
import time
from datetime import timedelta
from typing import Any

from pgsched import ExecutionContext, Failure, MaxRetries, RetryIn, one_time

AT_ONCE = MaxRetries(0)


DIARY = pathlib.Path(os.environ["DIARY"])


def note(what: str) -> None:
    """The line of a diary as `tests.worker.running` reads it."""
    with DIARY.open("a") as diary:
        diary.write(f"{time.time()} {os.getpid()} ran {what} 0\n")


@one_time("innocent")
def innocent(data: Any, context: ExecutionContext) -> None:
    note(context.task_instance)


@one_time("innocent-async")
async def innocent_async(data: Any, context: ExecutionContext) -> None:
    await asyncio.sleep(0)
    note(context.task_instance)


# Errors


class Unspeakable(BaseException):
    def __str__(self) -> str:
        raise SystemExit(0)


class Foreign(BaseException):
    pass


@one_time("raise", on_failure=AT_ONCE)
def raise_(data: str) -> None:
    raise error_of(data)


@one_time("raise-async", on_failure=AT_ONCE)
async def raise_async(data: str) -> None:
    await asyncio.sleep(0)
    raise error_of(data)


@one_time("raise-isolated", on_failure=AT_ONCE, isolation="process")
def raise_isolated(data: str) -> None:
    raise error_of(data)


def error_of(kind: str) -> BaseException:
    deep: BaseException = ValueError("innermost")
    match kind:
        case "unspeakable":
            return Unspeakable()
        case "foreign":
            return Foreign("neither Exception nor known")
        case "huge":
            return ValueError("x " * 25_000_000)
        case "unstorable":
            return ValueError("NUL \0 surrogate \ud800 escape \x1b[31m")
        case "group":
            for level in range(300):
                deep = BaseExceptionGroup(f"level {level}", [deep])
            return deep
        case "chain":
            for level in range(2000):
                outer = ValueError(f"level {level}")
                outer.__context__ = deep
                deep = outer
            return deep
        case "stop":
            return StopIteration("stop")
        case _:
            return {
                "exit": SystemExit(0),
                "interrupt": KeyboardInterrupt(),
                "generator": GeneratorExit(),
                "cancelled": asyncio.CancelledError("by the user"),
                "memory": MemoryError("no more"),
                "recursion": RecursionError("too deep"),
            }[kind]


def exiting_handler(failure: Failure) -> RetryIn:
    raise SystemExit(0)


@one_time("exit-in-the-handler", on_failure=exiting_handler)
def exit_in_the_handler() -> None:
    raise RuntimeError("first")


@one_time("exit-in-the-handler-async", on_failure=exiting_handler)
async def exit_in_the_handler_async() -> None:
    raise RuntimeError("first")


# The event loop


async def exit_() -> None:
    sys.exit(0)


@one_time("exit-in-a-subtask", on_failure=AT_ONCE)
async def exit_in_a_subtask() -> None:
    await asyncio.gather(asyncio.ensure_future(exit_()))


@one_time("stop-the-loop", on_failure=AT_ONCE)
async def stop_the_loop() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)


@one_time("cancel-everybody", on_failure=AT_ONCE)
async def cancel_everybody() -> None:
    for task in asyncio.all_tasks():
        task.cancel()


# Processes


@one_time("exit-with")
def exit_with(data: int) -> None:
    os._exit(data)


@one_time("exit-with-async")
async def exit_with_async(data: int) -> None:
    os._exit(data)


@one_time("exit-with-isolated", isolation="process")
def exit_with_isolated(data: int) -> None:
    os._exit(data)


@one_time("fork-and-return")
def fork_and_return(data: Any, context: ExecutionContext) -> None:
    if os.fork() == 0:
        note(f"child-of-{context.task_instance}")


@one_time("fork-and-return-async")
async def fork_and_return_async(data: Any, context: ExecutionContext) -> None:
    if os.fork() == 0:
        note(f"child-of-{context.task_instance}")


@one_time("fork-and-return-isolated", isolation="process")
def fork_and_return_isolated(data: Any, context: ExecutionContext) -> None:
    if os.fork() == 0:
        note(f"child-of-{context.task_instance}")
    else:
        time.sleep(0.3)
        note(f"parent-{context.task_instance}")


@one_time("fork-in-c-and-return")
def fork_in_c_and_return(data: Any, context: ExecutionContext) -> None:
    if ctypes.PyDLL(None).fork() == 0:
        note(f"child-of-{context.task_instance}")


@one_time("leave-a-child-and-die", isolation="process")
def leave_a_child_and_die() -> None:
    if os.fork() == 0:
        note("orphan")
        time.sleep(30)
    os._exit(0)


@one_time("leave-a-thread")
def leave_a_thread() -> None:
    threading.Thread(target=time.sleep, args=(3600,), daemon=False).start()


# Descriptors


@one_time("close")
def close(data: list[int]) -> None:
    os.closerange(*data)


@one_time("close-isolated", isolation="process")
def close_isolated(data: list[int], context: ExecutionContext) -> None:
    note(f"start-{context.task_instance}")
    os.closerange(*data)
    time.sleep(0.5)
    note(f"end-{context.task_instance}")


# Settings of the process


@one_time("unsettle")
def unsettle(data: Any) -> None:
    os.chdir("/")
    os.umask(0o777)
    os.environ.clear()
    sys.stdout = sys.stderr = None  # that is the point
    sys.setrecursionlimit(60)


@one_time("starve-of-descriptors")
def starve_of_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@one_time("return-anything")
def return_anything() -> object:
    return threading.Lock()


@one_time("return-anything-isolated", isolation="process")
def return_anything_isolated() -> object:
    return threading.Lock()


@one_time("late", on_failure=lambda _: RetryIn(timedelta(hours=1)))
def late() -> None:
    raise RuntimeError("once")


@one_time("typed", on_failure=AT_ONCE)
def typed(data: dict[str, int]) -> None: ...
