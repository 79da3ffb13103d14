"""OpenTelemetry, where the program uses it: a scheduling call and the run that it causes become one trace.

The only room that knows opentelemetry, and it is not the first to load it: without a program that has set a tracer
provider, nothing here does anything. A run is never harmed: whatever a provider raises costs a span at most.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

from pgsched import __version__
from pgsched.domain.outcome import Crashed, Failed, Interrupted, SpanIds, error_line
from pgsched.domain.task import caller_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, Tracer

    from pgsched.domain.context import ExecutionContext
    from pgsched.domain.execution import Held, NewExecution, RunKey
    from pgsched.domain.mask import Mask
    from pgsched.domain.outcome import Outcome
    from pgsched.domain.task import AnyTask, Caller

FLUSH_S = 2.0
"""How long a process that ends waits for its last spans to be exported. (The SDK's own limit is not kept.)"""

TRACEBACK_LIMIT = 16_000
"""Characters, as of the traceback of a failed execution."""

SYSTEM = {"messaging.system": "pgsched"}

LINK = "link:"
"""Stands before a stored traceparent to which runs are linked, instead of being part of its trace. Releases that don't
know of it find no traceparent there, and begin a trace without a link.
"""

RETRIES_IN_TRACE = 5
"""What is tried more often than that is tried for hours or days: no trace is kept open, or readable, for so long."""

_RUN: ContextVar[SpanIds | None] = ContextVar("pgsched_span", default=None)
"""The run that this is part of. It stays after the span has ended: what failure handlers log belongs to the run."""


def current_trace_context() -> str | None:
    """What is active here, as a W3C traceparent; None where nobody traces."""
    if _tracer() is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def run_span() -> SpanIds | None:
    """The span of the run that this is part of, or was until just now; None where nobody traces."""
    return _RUN.get()


def active_span() -> SpanIds | None:
    """The innermost span that is active here, or else the run's; None where nobody traces."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    with suppress(
        Exception
    ):  # a line of the log must not fail of it: somebody may just be importing it
        return _ids_of(api.get_current_span()) or _RUN.get()
    return None


def scheduling(
    wanted: Sequence[NewExecution], *, is_batch: bool
) -> AbstractContextManager[Sequence[NewExecution]]:
    """While they are scheduled; answers them with what their runs are to go on with, or of a batch: be linked to."""
    tracer = _tracer()
    if tracer is None or not wanted:
        return nullcontext(wanted)
    return _span_of(tracer, wanted, is_batch=is_batch)


@contextmanager
def _span_of(
    tracer: Tracer, wanted: Sequence[NewExecution], *, is_batch: bool
) -> Generator[Sequence[NewExecution]]:
    from opentelemetry.trace import SpanKind

    tasks = {each.task for each in wanted}
    name = f"schedule {wanted[0].task}" if len(tasks) == 1 else "schedule"
    attributes: dict[str, str | int] = {**SYSTEM}
    if is_batch:
        attributes["messaging.batch.message_count"] = len(wanted)
    if len(tasks) == 1:
        attributes["pgsched.task"] = wanted[0].task
    if len(wanted) == 1:
        attributes["pgsched.instance"] = wanted[0].instance
    with tracer.start_as_current_span(name, kind=SpanKind.PRODUCER, attributes=attributes):
        trace = current_trace_context()
        if trace and is_batch:
            trace = LINK + trace
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
        self._open: dict[RunKey, Span] = {}

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

    def traced(self, task: AnyTask) -> Caller:
        """The caller of a task whose runs have each a span."""
        call = caller_of(task)

        def run(data: str | None, context: ExecutionContext) -> object:
            execution = context.execution
            span = self._started(task, execution)
            _RUN.set(None if span is None else _ids_of(span))
            if span is None:
                return call(data, context)
            self._open[execution.key] = span
            with self._active(execution, span):
                answer = call(data, context)
            if iscoroutine(answer):
                return self._awaited(execution, span, answer)
            self._end(execution)
            return answer

        return run

    def note_lost(
        self, task: AnyTask, execution: Held, outcome: Outcome, *, duration_s: float
    ) -> SpanIds | None:
        """A run was ended from outside, and can't end its span itself: it ends here, or if it was in another process,
        one that stands for it does.
        """
        span = self._open.get(execution.key) or self._started(task, execution, ago_s=duration_s)
        if span is None:
            return None
        self._open[execution.key] = span
        self._end(execution, self._mask.hide(_reason(outcome)))
        return _ids_of(span)

    def end_open(self) -> None:
        """What still runs ends with this process."""
        for key in list(self._open):
            self._end_by(key, _reason(Interrupted()))

    async def _awaited(
        self, execution: Held, span: Span, coroutine: Coroutine[Any, Any, object]
    ) -> object:
        with self._active(execution, span):
            answer = await coroutine
        self._end(execution)
        return answer

    def _started(self, task: AnyTask, execution: Held, *, ago_s: float = 0.0) -> Span | None:
        from opentelemetry.trace import SpanKind

        lateness_s = (self._now() - execution.execution_time).total_seconds() - ago_s
        with suppress(Exception):
            parent, links = _origin(task, execution)
            return self._tracer.start_span(
                f"run {execution.task_name}",
                parent,
                SpanKind.CONSUMER,
                {
                    **SYSTEM,
                    "pgsched.task": execution.task_name,
                    "pgsched.instance": execution.task_instance,
                    "pgsched.attempt": execution.consecutive_failures + 1,
                    "pgsched.lateness_s": lateness_s,
                },
                links,
                start_time=time.time_ns() - int(ago_s * 1e9),
            )
        return None

    @contextmanager
    def _active(self, execution: Held, span: Span) -> Generator[None]:
        """What is traced within is part of this span. It ends with an error."""
        from opentelemetry.trace import use_span

        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:
            with suppress(Exception):
                self._note_exception(span, error)
            self._end(execution, error_line(error, self._mask))
            raise

    def _note_exception(self, span: Span, error: BaseException) -> None:
        """As the span's own `record_exception` does, without what must not be told, and bounded."""
        trace = "".join(traceback.format_exception(error))
        told = {
            "exception.type": type(error).__qualname__,
            "exception.message": error_line(error, self._mask),
            "exception.stacktrace": self._mask.end(trace, TRACEBACK_LIMIT),
        }
        span.add_event("exception", told)

    def _end(self, execution: Held, failed_of: str | None = None) -> None:
        self._end_by(execution.key, failed_of)

    def _end_by(self, key: RunKey, failed_of: str | None) -> None:
        """Once: who comes second (the run itself, while its poller leaves) finds it closed."""
        from opentelemetry.trace import StatusCode

        span = self._open.pop(key, None)
        with suppress(Exception):
            if span is not None and failed_of is not None:
                span.set_status(StatusCode.ERROR, failed_of)
        with suppress(Exception):
            if span is not None:
                span.end()


def _origin(task: AnyTask, execution: Held) -> tuple[Context, list[Link]]:
    """What a run is part of, or else linked to.

    A run is part of the call's trace where that call is about this one run, so that both are one story.
    """
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    stored = execution.trace_context or ""
    carrier = {"traceparent": stored.removeprefix(LINK)}
    call = TraceContextTextMapPropagator().extract(carrier, Context())
    is_single = not stored.startswith(LINK) and task.schedule is None
    if is_single and execution.consecutive_failures <= RETRIES_IN_TRACE:
        return call, []
    linked = get_current_span(call).get_span_context()
    return Context(), [Link(linked)] if linked.is_valid else []


def _ids_of(span: Span) -> SpanIds | None:
    """None for a span that is none, or whose provider is broken."""
    with suppress(Exception):
        context = span.get_span_context()
        if context.is_valid:
            return SpanIds(f"{context.trace_id:032x}", f"{context.span_id:016x}")
    return None


def _reason(outcome: Outcome) -> str:
    match outcome:
        case Failed(line=line):
            return line
        case Crashed(cause=cause):
            return f"its process died: {cause}"
        case _:
            return "its worker stopped it"
