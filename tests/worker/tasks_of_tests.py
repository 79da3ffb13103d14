"""The task module of the worker's tests. Each task writes into a diary: when, in which process, what, for whom."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pathlib
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from pgsched import (
    Every,
    ExecutionContext,
    ExponentialBackoff,
    Failure,
    FixedDelay,
    GiveUp,
    MaxRetries,
    RetryAt,
    RetryIn,
    one_time,
    recurring,
)


def note(what: str, context: ExecutionContext) -> None:
    line = (
        f"{time.time():.6f} {os.getpid()} {what} {context.task_instance} {context.fencing_token}\n"
    )
    file = os.open(os.environ["DIARY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode())
    os.close(file)


@one_time("run")
def run(data: Any, context: ExecutionContext) -> None:
    note("ran", context)


@one_time("nothing")
def nothing() -> None: ...


@one_time("quick-while-open")
def quick_while_open(data: str, context: ExecutionContext) -> None:
    while pathlib.Path(data).exists():
        time.sleep(0.1)
    time.sleep(0.001)
    note("opened", context)


@one_time("run-async")
async def run_async(data: Any, context: ExecutionContext) -> None:
    note("ran", context)


@one_time("sleep")
def sleep(data: float, context: ExecutionContext) -> None:
    note("started", context)
    time.sleep(data)
    note("ended", context)


@one_time("sleep-async")
async def sleep_async(data: float, context: ExecutionContext) -> None:
    note("started", context)
    try:
        await asyncio.sleep(data)
    except asyncio.CancelledError:
        note("cancelled", context)
        raise
    note("ended", context)


@one_time("until-shutdown")
def until_shutdown(data: Any, context: ExecutionContext) -> None:
    note("started", context)
    while not context.is_shutting_down:
        time.sleep(0.01)
    note("noticed", context)


@one_time("block-the-loop")
async def block_the_loop(data: float, context: ExecutionContext) -> None:
    note("started", context)
    time.sleep(data)  # noqa: ASYNC251 that is the point
    note("ended", context)


@one_time("hold-the-gil")
def hold_the_gil(data: int, context: ExecutionContext) -> None:
    note("started", context)
    pow(3, data)  # one call into C, which never lets the GIL go
    note("ended", context)


@one_time("fail", on_failure=MaxRetries(2))
def fail(data: Any, context: ExecutionContext) -> None:
    note(f"attempt-{context.attempt}", context)
    raise RuntimeError(f"no {data}")


@one_time(
    "fail-twice", on_failure=ExponentialBackoff(timedelta(milliseconds=50), max_retries=5, jitter=0)
)
async def fail_twice(data: Any, context: ExecutionContext) -> None:
    note(f"attempt-{context.attempt}", context)
    if context.attempt < 3:
        raise RuntimeError("not yet")


@one_time("fail-without-handler")
def fail_without_handler() -> None:
    raise RuntimeError("no handler")


@one_time("exit", on_failure=MaxRetries(0))
def exit_() -> None:
    raise SystemExit("a task can't end its worker")


@one_time("exit-async", on_failure=MaxRetries(0))
async def exit_async() -> None:
    raise KeyboardInterrupt


def broken_handler(failure: Failure) -> RetryIn:
    raise LookupError("the handler is broken")


@one_time("broken-handler", on_failure=broken_handler)
def fail_with_broken_handler() -> None:
    raise RuntimeError("no")


def own_handler(failure: Failure) -> RetryIn | GiveUp:
    assert isinstance(failure.error, RuntimeError)
    assert failure.now >= failure.execution_time
    return RetryIn(timedelta(0)) if failure.consecutive_failures < 4 else GiveUp()


@one_time("own-handler", on_failure=own_handler)
def fail_with_own_handler(data: Any, context: ExecutionContext) -> None:
    note(f"attempt-{context.attempt}", context)
    raise RuntimeError("no")


@one_time("slow", timeout=timedelta(milliseconds=200), on_failure=MaxRetries(0))
async def slow() -> None:
    await asyncio.sleep(60)


@one_time("kill-own-process")
def kill_own_process(data: Any, context: ExecutionContext) -> None:
    note("started", context)
    os.kill(os.getpid(), signal.SIGKILL)


@one_time("chain")
async def chain(data: int, context: ExecutionContext) -> None:
    note("ran", context)
    if data:
        context.schedule("chain", f"link-{data - 1}", data - 1)


@one_time("chain-that-fails", on_failure=FixedDelay(timedelta(hours=1)))
def chain_that_fails(data: Any, context: ExecutionContext) -> None:
    context.schedule(run, "child-of-a-failure")
    raise RuntimeError("after scheduling")


@dataclass
class Parcel:
    weight: int
    to: str


@one_time("typed", on_failure=MaxRetries(0))
def typed(data: Parcel, context: ExecutionContext) -> None:
    note(f"{data.to}-{data.weight + 1}", context)


@one_time("take-nothing")
def take_nothing() -> None: ...


@one_time("bad-error", on_failure=MaxRetries(0))
def bad_error() -> None:
    raise RuntimeError("a NUL \0 and a surrogate \ud800 and much text " + "x" * 100_000)


@recurring("tick", schedule=Every(milliseconds=200))
def tick(data: Any, context: ExecutionContext) -> None:
    note("ticked", context)


@recurring("tick-that-fails", schedule=Every(milliseconds=200), on_failure=MaxRetries(1))
async def tick_that_fails(data: Any, context: ExecutionContext) -> None:
    note(f"attempt-{context.attempt}", context)
    raise RuntimeError("every time")


class Broken:
    """A schedule that works once."""

    def next_time(self, after: Any) -> Any:
        raise LookupError("no more times")

    def first_time(self, now: Any) -> Any:
        return now


@recurring("broken-schedule", schedule=Broken())
def broken_schedule() -> None: ...


@one_time("history")
def history(data: Any, context: ExecutionContext) -> None:
    note(f"{context.last_success}/{context.last_failure}", context)


def be_a_child(is_up: Any) -> None:
    is_up.set()
    time.sleep(60)


@one_time("start-a-process")
def start_a_process(data: Any, context: ExecutionContext) -> None:
    forking = multiprocessing.get_context("fork")
    is_up = forking.Event()
    child = forking.Process(target=be_a_child, args=(is_up,))
    child.start()
    is_up.wait(10)
    child.terminate()
    child.join(10)
    note(f"child-{child.exitcode}", context)
    child.kill()


def plain_wrapper(function: Any) -> Any:
    def call(data: Any, context: ExecutionContext) -> Any:
        return function(data, context)

    return call


@one_time("wrapped")
@plain_wrapper
async def wrapped(data: Any, context: ExecutionContext) -> None:
    await asyncio.sleep(0.01)
    note("ran", context)


@one_time("impossible-retry", on_failure=lambda failure: RetryIn(timedelta.max))
def impossible_retry() -> None:
    raise RuntimeError("no")


@one_time("sleep-and-tell")
def sleep_and_tell(data: float, context: ExecutionContext) -> None:
    note("started", context)
    time.sleep(data)
    note(f"ended/{context.crashes}/{context.consecutive_failures}", context)


@one_time("kill-all-in-a-while")
def kill_all_in_a_while(data: float, context: ExecutionContext) -> None:
    """Its neighbours have started by then."""
    note("started", context)
    time.sleep(data)
    os.killpg(os.getpgrp(), signal.SIGKILL)


@one_time("exit-in-a-while")
def exit_in_a_while(data: float, context: ExecutionContext) -> None:
    note("started", context)
    time.sleep(data)
    os._exit(3)


@one_time("isolated", isolation="process")
def isolated(data: Any, context: ExecutionContext) -> None:
    note("started", context)
    context.schedule("run", f"after-{context.task_instance}", in_=timedelta(0))


@one_time("isolated-async", isolation="process")
async def isolated_async(data: Any, context: ExecutionContext) -> None:
    await asyncio.sleep(0)
    note("started", context)


class Unpicklable(Exception):
    def __init__(self, one: object, two: object) -> None:
        super().__init__(f"{one} and {two}")
        self.lock = threading.Lock()


@one_time("isolated-failing", isolation="process", on_failure=MaxRetries(0))
def isolated_failing() -> None:
    raise Unpicklable(1, 2)


@one_time(
    "isolated-endless",
    isolation="process",
    timeout=timedelta(milliseconds=500),
    on_failure=MaxRetries(0),
)
def isolated_endless(data: Any, context: ExecutionContext) -> None:
    note("started", context)
    while True:
        pass


@one_time("endless", timeout=timedelta(milliseconds=500), on_failure=MaxRetries(1))
def endless(data: Any, context: ExecutionContext) -> None:
    note("started", context)
    while True:
        time.sleep(0.01)
        note("alive", context)


@one_time("isolated-long", isolation="process")
def isolated_long(data: Any, context: ExecutionContext) -> None:
    note("started", context)
    time.sleep(60)


def run_a_program() -> None:
    """It keeps whatever may be inherited."""
    os.system(f"echo $$ > {os.environ['DIARY']}.program; exec sleep 60")


@one_time(
    "isolated-program",
    isolation="process",
    timeout=timedelta(milliseconds=500),
    on_failure=MaxRetries(0),
)
def isolated_program() -> None:
    run_a_program()


@one_time("isolated-program-left-behind", isolation="process")
def isolated_program_left_behind() -> None:
    if os.fork() == 0:
        run_a_program()
    while not pathlib.Path(os.environ["DIARY"] + ".program").exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


@one_time("isolated-patient", isolation="process", timeout=timedelta(days=30))
def isolated_patient() -> None: ...


def odd_time(failure: Failure) -> RetryAt:
    class OddTime(datetime):
        """Nobody can pickle it."""

    return RetryAt(OddTime(2100, 1, 1, tzinfo=UTC))


@one_time("isolated-odd-time", isolation="process", on_failure=odd_time)
def isolated_odd_time() -> None:
    raise RuntimeError("no")


@one_time("isolated-interrupting", isolation="process")
def isolated_interrupting(data: Any, context: ExecutionContext) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        os.kill(os.getpid(), number)
    done = subprocess.run(["sh", "-c", "kill -INT $$"], check=False)
    note(f"program-{done.returncode}", context)


def deadly_handler(failure: Failure) -> GiveUp:
    os._exit(3)


@one_time("deadly-handler", on_failure=deadly_handler)
def fail_with_deadly_handler() -> None:
    raise RuntimeError("no")


@one_time("deadly-handler-async", on_failure=deadly_handler)
async def fail_with_deadly_handler_async() -> None:
    raise RuntimeError("no")


@one_time("isolated-sleep", isolation="process")
def isolated_sleep(data: float, context: ExecutionContext) -> None:
    note("started", context)
    time.sleep(data)
    note("ended", context)


@one_time("watch-touch")
def watch_touch(data: Any, context: ExecutionContext) -> None:
    note("started", context)
    while not context.is_out_of_touch:
        time.sleep(0.01)
    note("out-of-touch", context)
    while context.is_out_of_touch:
        time.sleep(0.01)
    note("in-touch", context)


@one_time("never-overlaps", on_out_of_touch="stop")
def never_overlaps(data: Any, context: ExecutionContext) -> None:
    note("started", context)
    time.sleep(60)


@one_time("never-overlaps-async", on_out_of_touch="stop")
async def never_overlaps_async(data: Any, context: ExecutionContext) -> None:
    note("started", context)
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@one_time("never-overlaps-ticking", on_out_of_touch="stop")
def never_overlaps_ticking(data: Any, context: ExecutionContext) -> None:
    note("started", context)
    while True:
        note("acted", context)
        time.sleep(0.02)


LEAKED: list[bytes] = []


@one_time("leak")
def leak(data: int) -> None:
    LEAKED.append(b"\1" * data)


class Wrong(Exception):
    pass


@one_time("exactly-once", on_failure=MaxRetries(0))
def exactly_once(data: str, context: ExecutionContext) -> None:
    note("started", context)
    context.schedule("run", f"after-{context.task_instance}")
    with context.transaction() as connection:
        connection.execute("insert into effects values (%s)", [context.task_instance])
        if data == "raise":
            raise Wrong
        if data == "wait":
            note("waiting", context)
            while not pathlib.Path(os.environ["DIARY"] + ".go").exists():
                time.sleep(0.01)
    if data == "raise after":
        raise Wrong
    if data == "schedule after":
        context.schedule("run", "too-late")
    note("ended", context)


@one_time("exactly-once-async")
async def exactly_once_async(data: str, context: ExecutionContext) -> None:
    async with context.transaction() as connection:
        await connection.execute("insert into effects values (%s)", [context.task_instance])


@one_time("exactly-once-isolated", isolation="process")
def exactly_once_isolated(data: str, context: ExecutionContext) -> None:
    with context.transaction() as connection:
        connection.execute("insert into effects values (%s)", [context.task_instance])


@one_time("exactly-once-many")
def exactly_once_many(data: int, context: ExecutionContext) -> None:
    with context.transaction() as connection:
        for _ in range(data):
            connection.execute("insert into effects values (%s)", [context.task_instance])


@one_time("exactly-once-given")
def exactly_once_given(data: str, context: ExecutionContext) -> None:
    with psycopg.connect(data) as connection, context.transaction(connection):
        connection.execute("insert into effects values (%s)", [context.task_instance])


@recurring("exactly-once-recurring", schedule=Every(milliseconds=200))
def exactly_once_recurring(data: None, context: ExecutionContext) -> None:
    if context.consecutive_failures or not pathlib.Path(os.environ["DIARY"] + ".recur").exists():
        return
    with context.transaction() as connection:
        connection.execute("insert into effects values (%s)", [context.fencing_token])


@one_time("freeze")
def freeze(data: Any, context: ExecutionContext) -> None:
    note("started", context)
    if context.fencing_token == data:
        os.kill(os.getpid(), signal.SIGSTOP)
        last = time.monotonic()
        while (now := time.monotonic()) < last + 1:  # until it has stood still, and goes on
            last = now
    note("ended", context)
