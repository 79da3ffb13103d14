"""Tasks of a program that traces: each span is a line of a file."""

from __future__ import annotations

import asyncio
import json
import os
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

from pgsched import Every, ExecutionContext, FixedDelay, MaxRetries, one_time, recurring

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
        "status": span.status.status_code.name,
        "attributes": dict(span.attributes or {}),
        "events": [{"name": event.name, **(event.attributes or {})} for event in span.events],
        "pid": os.getpid(),
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
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("shop")


@one_time("in-a-thread")
def in_a_thread(data: Any, context: ExecutionContext) -> None:
    with tracer.start_as_current_span(f"work {context.task_instance}"):
        context.schedule("follow", f"after-{context.task_instance}")


@one_time("on-the-loop")
async def on_the_loop(data: Any, context: ExecutionContext) -> None:
    await asyncio.sleep(0.05)
    with tracer.start_as_current_span(f"work {context.task_instance}"):
        await asyncio.sleep(0.05)


@one_time("alone", isolation="process")
async def alone(data: Any, context: ExecutionContext) -> None:
    with tracer.start_as_current_span(f"work {context.task_instance}"):
        await asyncio.sleep(0)


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
