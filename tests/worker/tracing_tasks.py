"""Tasks of a program that traces: each span is a line of a file."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)

from pgsched import (
    Every,
    ExecutionContext,
    Failure,
    FixedDelay,
    GiveUp,
    MaxRetries,
    one_time,
    recurring,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span


class LineExporter(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        lines = "".join(f"{json.dumps(line(span))}\n" for span in spans)
        file = os.open(os.environ["SPANS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(file, lines.encode())
        os.close(file)
        return SpanExportResult.SUCCESS


def line(span: ReadableSpan) -> dict[str, Any]:
    return {
        "name": span.name,
        "kind": span.kind.name,
        "trace": f"{span.context.trace_id:032x}",
        "id": f"{span.context.span_id:016x}",
        "parent": f"{span.parent.span_id:016x}" if span.parent else None,
        "links": [
            f"{link.context.trace_id:032x}-{link.context.span_id:016x}" for link in span.links
        ],
        "status": span.status.status_code.name,
        "why": span.status.description,
        "attributes": dict(span.attributes or {}),
        "events": [{"name": event.name, **(event.attributes or {})} for event in span.events],
        "lasted_s": ((span.end_time or 0) - (span.start_time or 0)) / 1e9,
    }


class Broken(SpanProcessor):
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if span.name.startswith(("run", "pick")):
            raise LookupError("no spans today")


provider = TracerProvider()
if "BROKEN" in os.environ:
    provider.add_span_processor(Broken())
if "BATCHES" in os.environ:
    provider.add_span_processor(BatchSpanProcessor(LineExporter(), schedule_delay_millis=600_000))
else:
    provider.add_span_processor(SimpleSpanProcessor(LineExporter()))
if "UNTRACED" not in os.environ:
    trace.set_tracer_provider(provider)
tracer = trace.get_tracer("shop")
log = logging.getLogger("shop")


@one_time("in-a-thread")
def in_a_thread(data: Any, context: ExecutionContext) -> None:
    log.info("before")
    elsewhere = threading.Thread(target=context.log.info, args=("elsewhere",))
    elsewhere.start()
    elsewhere.join()
    with tracer.start_as_current_span(f"work {context.task_instance}"):
        log.info("within")
        context.schedule("follow", f"after-{context.task_instance}")


@one_time("on-the-loop")
async def on_the_loop(data: Any, context: ExecutionContext) -> None:
    log.info("before")
    await asyncio.sleep(0.05)
    with tracer.start_as_current_span(f"work {context.task_instance}"):
        await asyncio.sleep(0.05)
        log.info("within")


@one_time("alone", isolation="process")
async def alone(data: Any, context: ExecutionContext) -> None:
    log.info("before")
    with tracer.start_as_current_span(f"work {context.task_instance}"):
        log.info("within")


@one_time("follow")
def follow() -> None: ...


@one_time("fail-once", on_failure=FixedDelay(timedelta(0), max_retries=1))
def fail_once(data: Any, context: ExecutionContext) -> None:
    if context.attempt == 1:
        raise RuntimeError("not yet, sesame-street")


@one_time("exit", on_failure=MaxRetries(0))
async def exit_() -> None:
    raise SystemExit


@recurring("tick", schedule=Every(milliseconds=100))
def tick() -> None: ...


@recurring("stumble", schedule=Every(milliseconds=100))
def stumble() -> None:
    raise RuntimeError("again")


@one_time("fail-often", on_failure=FixedDelay(timedelta(0), max_retries=6))
def fail_often() -> None:
    raise RuntimeError("again")


def give_up(failure: Failure) -> GiveUp:
    log.info("deciding")
    return GiveUp()


@one_time("fail", on_failure=give_up)
def fail() -> None:
    raise RuntimeError("never")


def last_for_ever(context: ExecutionContext) -> None:
    with tracer.start_as_current_span("patience"):
        pass
    log.info("waiting")
    time.sleep(60)


@one_time("overrun", timeout=timedelta(seconds=0.3), on_failure=MaxRetries(0))
def overrun(context: ExecutionContext) -> None:
    last_for_ever(context)


@one_time(
    "overrun-alone",
    timeout=timedelta(seconds=0.3),
    on_failure=MaxRetries(0),
    isolation="process",
)
def overrun_alone(context: ExecutionContext) -> None:
    last_for_ever(context)


@one_time("wait")
def wait(context: ExecutionContext) -> None:
    last_for_ever(context)


@one_time("wait-alone", isolation="process")
def wait_alone(context: ExecutionContext) -> None:
    last_for_ever(context)


@one_time("kill-itself", isolation="process")
def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
