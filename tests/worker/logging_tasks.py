"""Tasks that log through `logging`, as libraries do, and fail with what they should not tell."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import psycopg

from pgsched import ExecutionContext, FixedDelay, MaxRetries, one_time

log = logging.getLogger("shop")
left: ContextVar[str] = ContextVar("left", default="nothing")


@one_time("in-a-thread")
def in_a_thread(data: Any, context: ExecutionContext) -> None:
    log.info("hello %s", "you", extra={"order": 17})
    context.log.info("bound")


@one_time("on-the-loop")
async def on_the_loop(data: Any, context: ExecutionContext) -> None:
    log.info("hello you", extra={"left": left.get()})
    left.set(context.task_instance)
    await asyncio.sleep(0.05)
    await asyncio.to_thread(log.info, "from a thread")


@one_time("alone", isolation="process")
def alone(data: Any, context: ExecutionContext) -> None:
    log.info("hello you")


def tell_handler(failure: Any) -> Any:
    log.warning("asked")
    return MaxRetries(0)(failure)


@one_time("fail", on_failure=tell_handler)
def fail() -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        log.exception("told")
        raise


@one_time("fail-once", on_failure=FixedDelay(timedelta(0), max_retries=1))
def fail_once(data: Any, context: ExecutionContext) -> None:
    if context.attempt == 1:
        raise RuntimeError("not yet")


@one_time("too-slow", timeout=timedelta(milliseconds=100), on_failure=MaxRetries(0))
def too_slow() -> None:
    time.sleep(60)


@one_time("too-slow-alone", isolation="process", timeout=timedelta(milliseconds=100))
def too_slow_alone() -> None:
    time.sleep(60)


@one_time("crash", isolation="process")
def crash() -> None:
    os.abort()


@one_time("mistype", on_failure=MaxRetries(0))
def mistype(data: str) -> None:
    log.info("connecting to %s", data)
    psycopg.connect(data.replace("postgresql:", "postgresql"))
