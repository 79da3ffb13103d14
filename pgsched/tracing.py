"""OpenTelemetry, where the program uses it: a scheduling call and the runs that it causes become one trace.

The only room that knows opentelemetry, and it is not the first to load it: without a program that has set a tracer
provider, nothing here does anything. A run is never harmed: whatever a provider raises costs a span at most.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from contextlib import contextmanager, nullcontext, suppress
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

from pgsched import __version__
from pgsched.domain.outcome import error_line

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from opentelemetry.trace import Span, Tracer

    from pgsched.domain.context import ExecutionContext
    from pgsched.domain.execution import Held, NewExecution
    from pgsched.domain.mask import Mask
    from pgsched.domain.task import Caller

FLUSH_S = 2.0
"""How long a process that ends waits for its last spans to be exported. (The SDK's own limit is not kept.)"""

TRACEBACK_LIMIT = 16_000
"""Characters, as of the traceback of a failed execution."""

SYSTEM = {"messaging.system": "pgsched"}


def current_trace_context() -> str | None:
    """What is active here, as a W3C traceparent; None where nobody traces."""
    if _tracer() is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def scheduling(wanted: Sequence[NewExecution]) -> AbstractContextManager[Sequence[NewExecution]]:
    """While they are scheduled; answers them with the trace that their runs are to go on with."""
    tracer = _tracer()
    return nullcontext(wanted) if tracer is None or not wanted else _span_of(tracer, wanted)


@contextmanager
def _span_of(tracer: Tracer, wanted: Sequence[NewExecution]) -> Generator[Sequence[NewExecution]]:
    from opentelemetry.trace import SpanKind

    tasks = {each.task for each in wanted}
    name = f"schedule {wanted[0].task}" if len(tasks) == 1 else "schedule"
    attributes: dict[str, str | int] = {**SYSTEM, "messaging.batch.message_count": len(wanted)}
    if len(tasks) == 1:
        attributes["pgsched.task"] = wanted[0].task
    if len(wanted) == 1:
        attributes["pgsched.instance"] = wanted[0].instance
    with tracer.start_as_current_span(name, kind=SpanKind.PRODUCER, attributes=attributes):
        trace = current_trace_context()
        yield [
            each if each.trace_context else each._replace(trace_context=trace) for each in wanted
        ]


def _tracer() -> Tracer | None:
    """None where nobody traces in this process: who does has loaded opentelemetry and set a provider."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    provider = api.get_tracer_provider()
    if isinstance(provider, api.ProxyTracerProvider):
        return None
    tracer: Tracer = provider.get_tracer("pgsched", __version__)
    return tracer


def run_tracing(now: Callable[[], datetime], mask: Mask) -> RunTracing | None:
    """For the runs of this process; None where nobody traces. Asked once, when the task modules are there."""
    tracer = _tracer()
    return None if tracer is None else RunTracing(tracer, now, mask)


def flush() -> None:
    """Have the spans of this process exported before it ends, if that is quick."""
    if _tracer() is None:
        return
    from opentelemetry.trace import get_tracer_provider

    force_flush = getattr(get_tracer_provider(), "force_flush", None)
    if force_flush is not None:
        flushing = threading.Thread(target=force_flush, name="pgsched-flush", daemon=True)
        flushing.start()
        flushing.join(FLUSH_S)


class RunTracing:
    """Spans of picks and runs."""

    def __init__(self, tracer: Tracer, now: Callable[[], datetime], mask: Mask) -> None:
        self._tracer = tracer
        self._now = now
        self._mask = mask

    def note_pick(self, taken: int, took_s: float) -> None:
        """A pick that took something has just ended."""
        from opentelemetry.trace import SpanKind

        with suppress(Exception):
            ended_at = time.time_ns()
            self._tracer.start_span(
                "pick",
                kind=SpanKind.CLIENT,
                attributes={**SYSTEM, "messaging.batch.message_count": taken},
                start_time=ended_at - int(took_s * 1e9),
            ).end(ended_at)

    def traced(self, call: Caller) -> Caller:
        """The caller of a task whose runs have each a span, in the trace of what has scheduled them."""

        def run(data: str | None, context: ExecutionContext) -> object:
            span = self._started(context.execution)
            if span is None:
                return call(data, context)
            with self._active(span):
                answer = call(data, context)
            if iscoroutine(answer):
                return self._awaited(span, answer)
            _end(span)
            return answer

        return run

    async def _awaited(self, span: Span, coroutine: Coroutine[Any, Any, object]) -> object:
        with self._active(span):
            answer = await coroutine
        _end(span)
        return answer

    def _started(self, execution: Held) -> Span | None:
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {"traceparent": execution.trace_context} if execution.trace_context else {}
        lateness = self._now() - execution.execution_time
        with suppress(Exception):
            return self._tracer.start_span(
                f"run {execution.task_name}",
                TraceContextTextMapPropagator().extract(carrier, Context()),
                SpanKind.CONSUMER,
                {
                    **SYSTEM,
                    "pgsched.task": execution.task_name,
                    "pgsched.instance": execution.task_instance,
                    "pgsched.attempt": execution.consecutive_failures + 1,
                    "pgsched.lateness_s": lateness.total_seconds(),
                },
            )
        return None

    @contextmanager
    def _active(self, span: Span) -> Generator[None]:
        """What is traced within is part of this span. It ends with an error."""
        from opentelemetry.trace import use_span

        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:
            with suppress(Exception):
                self._note_failure(span, error)
            _end(span)
            raise

    def _note_failure(self, span: Span, error: BaseException) -> None:
        """As the span's own `record_exception` does, without what must not be told, and bounded."""
        from opentelemetry.trace import StatusCode

        line = self._mask.hide(error_line(error))
        trace = "".join(traceback.format_exception(error))[-TRACEBACK_LIMIT:]
        told = {
            "exception.type": type(error).__qualname__,
            "exception.message": line,
            "exception.stacktrace": self._mask.hide(trace),
        }
        span.add_event("exception", told)
        span.set_status(StatusCode.ERROR, line)


def _end(span: Span) -> None:
    with suppress(Exception):
        span.end()
