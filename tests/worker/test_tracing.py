"""A scheduling call and the run that it causes are one trace, across processes; with OpenTelemetry's own SDK."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pgsched import AsyncClient, InvalidData, NewExecution
from tests.waiting import wait_until
from tests.worker.running import Project, Worker

if TYPE_CHECKING:
    from collections.abc import Generator

Start = Callable[..., Worker]
Spans = Callable[[str], list[dict[str, Any]]]

TASKS = Path(__file__).with_name("tracing_tasks.py")
GIVEN = f"00-{1:032x}-{2:016x}-01"


@pytest.fixture
def project(tmp_path: Path, database: str) -> Generator[Project]:
    project = Project(tmp_path, database, tasks=TASKS)
    yield project
    project.client.close()


@pytest.fixture
def spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spans:
    """What workers have exported, by the name of the span."""
    file = tmp_path / "spans"
    monkeypatch.setenv("SPANS", str(file))

    def of(name: str) -> list[dict[str, Any]]:
        text = file.read_text() if file.exists() else ""
        found = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [span for span in found if span["name"] == name]

    return of


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What this process has traced: its provider is that of the test alone."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


def stored(project: Project, instance: str) -> str | None:
    row = project.row(instance)
    assert row is not None
    text: str | None = row["trace_context"]
    return text and "-".join(text.split("-")[1:3])


def last(exported: InMemorySpanExporter) -> str:
    """Trace and span of what was traced last, as a traceparent has them."""
    context = exported.get_finished_spans()[-1].context
    assert context is not None
    return f"{context.trace_id:032x}-{context.span_id:016x}"


def parent_of(run: dict[str, Any]) -> str:
    return f"{run['trace']}-{run['parent']}"


def test_a_scheduling_call_is_a_span_and_is_kept_with_its_executions(
    project: Project, exported: InMemorySpanExporter
) -> None:
    with trace.get_tracer("shop").start_as_current_span("order") as order:
        project.client.schedule("mail", "a")
    span, _ = exported.get_finished_spans()
    assert (span.name, span.kind, span.parent) == (
        "schedule mail",
        SpanKind.PRODUCER,
        order.get_span_context(),
    )
    assert span.attributes is not None
    assert span.attributes["messaging.system"] == "pgsched"
    assert (span.attributes["pgsched.task"], span.attributes["pgsched.instance"]) == ("mail", "a")
    assert "messaging.batch.message_count" not in span.attributes
    exported.clear()
    project.client.schedule_many([
        ("mail", "b"),
        ("bill", "c"),
        NewExecution("bill", "d", trace_context=GIVEN),
    ])
    [span] = exported.get_finished_spans()
    assert span.name == "schedule"
    assert span.attributes is not None
    assert span.attributes["messaging.batch.message_count"] == 3
    assert stored(project, "b") == stored(project, "c") == last(exported)
    assert f"00-{stored(project, 'd')}-01" == GIVEN
    with pytest.raises(InvalidData, match="'x' is no trace context"):
        project.client.schedule_many([NewExecution("bill", "e", trace_context="x")])


async def schedule_both(conninfo: str) -> None:
    async with AsyncClient(conninfo) as client:
        await client.schedule("mail", "a")
        await client.schedule_many([("mail", "b"), ("mail", "c")])


def test_asynchronous_calls_are_spans_too(project: Project, exported: InMemorySpanExporter) -> None:
    asyncio.run(schedule_both(project.conninfo))
    assert [span.name for span in exported.get_finished_spans()] == ["schedule mail"] * 2
    assert stored(project, "a") != stored(project, "b") == last(exported)


def test_who_does_not_trace_stores_nothing_and_loads_nothing(project: Project) -> None:
    """The API alone, which libraries bring along, is not enough: somebody must have set a provider."""
    project.client.schedule("mail", "a")
    assert stored(project, "a") is None
    program = (
        "import sys; from pgsched import Client; import pgsched.worker.poller\n"
        f"with Client({project.conninfo!r}) as client: client.schedule('mail', 'b')\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_runs_go_on_with_the_trace_that_has_scheduled_them_and_what_tasks_trace_is_part_of_them(
    project: Project, start: Start, spans: Spans, exported: InMemorySpanExporter
) -> None:
    work = {"t": "in-a-thread", "p": "alone", "l-1": "on-the-loop", "l-2": "on-the-loop"}
    parents = {}
    for instance, task in work.items():
        project.client.schedule(task, instance)
        parents[instance] = last(exported)
    worker = start(processes=1)
    worker.wait_event("execution.completed", task="follow")
    for instance, task in work.items():
        worker.wait_event("execution.completed", instance=instance)
        [run] = [
            run for run in spans(f"run {task}") if run["attributes"]["pgsched.instance"] == instance
        ]
        assert parent_of(run) == parents[instance]
        assert (run["kind"], run["status"]) == ("CONSUMER", "UNSET")
        attributes = run["attributes"]
        assert (attributes["messaging.system"], attributes["pgsched.attempt"]) == ("pgsched", 1)
        assert attributes["pgsched.task"] == task
        assert 0 <= attributes["pgsched.lateness_s"] < 30
        [part] = spans(f"work {instance}")
        assert (part["trace"], part["parent"]) == (run["trace"], run["id"])
    [part] = spans("work t")
    [following] = spans("run follow")
    assert (following["trace"], following["parent"]) == (part["trace"], part["id"])
    assert {pick["kind"] for pick in spans("pick")} == {"CLIENT"}
    assert all(pick["attributes"]["messaging.batch.message_count"] for pick in spans("pick"))


def test_runs_of_a_batch_are_traces_of_their_own_linked_to_the_call(
    project: Project, start: Start, spans: Spans, exported: InMemorySpanExporter
) -> None:
    """But for one that was given a trace: it goes on with that."""
    given = NewExecution("follow", "c", trace_context=GIVEN)
    project.client.schedule_many([("follow", "a"), ("follow", "b"), given])
    call = last(exported)
    worker = start(processes=1)
    for instance in ("a", "b", "c"):
        worker.wait_event("execution.completed", instance=instance)
    runs = {run["attributes"]["pgsched.instance"]: run for run in spans("run follow")}
    assert [(runs[name]["parent"], runs[name]["links"]) for name in "ab"] == [(None, [call])] * 2
    assert len({call.split("-")[0], runs["a"]["trace"], runs["b"]["trace"]}) == 3
    assert (f"00-{parent_of(runs['c'])}-01", runs["c"]["links"]) == (GIVEN, [])


def test_releases_that_know_no_links_find_no_trace_in_one(
    project: Project, exported: InMemorySpanExporter
) -> None:
    """They read what is stored with OpenTelemetry's own parser: their runs begin a trace."""
    project.client.schedule_many([("follow", "a")])
    row = project.row("a")
    assert row is not None
    carrier = {"traceparent": row["trace_context"]}
    assert carrier["traceparent"].startswith(f"link:00-{last(exported)}-")
    assert TraceContextTextMapPropagator().extract(carrier, Context()) == Context()


def test_what_is_tried_again_and_again_does_not_stay_in_one_trace_for_ever(
    project: Project, start: Start, spans: Spans, exported: InMemorySpanExporter
) -> None:
    project.client.schedule("fail-often", "x")
    call = last(exported)
    start(processes=1).wait_event("execution.exhausted", instance="x")
    runs = spans("run fail-often")
    assert [parent_of(run) for run in runs[:6]] == [call] * 6
    assert (runs[6]["parent"], runs[6]["links"]) == (None, [call])
    assert runs[6]["trace"] not in call


def test_each_attempt_is_a_span_and_says_what_it_failed_of_without_the_password(
    project: Project, start: Start, spans: Spans, exported: InMemorySpanExporter
) -> None:
    project.conninfo += " password=sesame-street"
    project.client.schedule("fail-once", "x")
    parent = last(exported)
    project.client.schedule("exit", "x")
    worker = start()
    worker.wait_event("execution.completed", task="fail-once")
    worker.wait_event("execution.exhausted", task="exit")
    first, second = spans("run fail-once")
    assert {parent_of(run) for run in (first, second)} == {parent}
    assert (first["status"], second["status"]) == ("ERROR", "UNSET")
    assert (first["attributes"]["pgsched.attempt"], second["attributes"]["pgsched.attempt"]) == (
        1,
        2,
    )
    [event] = first["events"]
    assert event["exception.message"] == "RuntimeError: not yet, ***"
    assert event["exception.stacktrace"].startswith("Traceback")
    assert "sesame-street" not in event["exception.stacktrace"]
    assert spans("run exit")[0]["status"] == "ERROR"


def test_each_run_of_a_recurring_task_is_a_trace_of_its_own(
    project: Project, start: Start, spans: Spans, exported: InMemorySpanExporter
) -> None:
    """Also where the first was scheduled by hand: it is linked to that until it succeeds. Without the null in
    complete_reschedule.sql all are.
    """
    project.client.schedule("stumble", "default")
    by_hand = last(exported)
    project.client.schedule("tick", "default")
    start()
    runs = wait_until(lambda: found if len(found := spans("run tick")) >= 3 else None)
    assert runs[0]["links"] == [last(exported)]
    assert [run["links"] for run in runs[1:]] == [[]] * len(runs[1:])
    stumbles = wait_until(lambda: found if len(found := spans("run stumble")) >= 3 else None)
    assert [run["links"] for run in stumbles] == [[by_hand]] * len(stumbles)
    assert {run["parent"] for run in runs + stumbles} == {None}
    assert len({run["trace"] for run in runs + stumbles}) == len(runs + stumbles)


def test_lines_of_a_run_say_where_its_trace_is(
    project: Project, start: Start, spans: Spans
) -> None:
    """Those of the worker, of `logging`, of `context.log` in other threads, and of failure handlers."""
    work = {"t": "in-a-thread", "p": "alone", "l": "on-the-loop"}
    project.client.schedule_many([(task, instance) for instance, task in work.items()])
    project.client.schedule("fail", "f")
    worker = start(processes=1)
    for instance, task in work.items():
        [completed] = worker.wait_event("execution.completed", instance=instance)
        [run], [part] = spans(f"run {task}"), spans(f"work {instance}")
        [before], [within] = (worker.events(line, instance=instance) for line in LINES)
        assert place(completed) == place(before) == (run["trace"], run["id"])
        assert place(within) == (part["trace"], part["id"])
    [exhausted] = worker.wait_event("execution.exhausted", instance="f")
    [run] = spans("run fail")
    [deciding], [elsewhere] = worker.events("deciding"), worker.events("elsewhere")
    assert place(exhausted) == place(deciding) == (run["trace"], run["id"])
    assert place(elsewhere) == place(worker.events("before", instance="t")[0])
    assert not any("trace_id" in event for event in worker.events("poller.started"))


LINES = ("before", "within")


def place(line: dict[str, Any]) -> tuple[str, str]:
    return line["trace_id"], line["span_id"]


def test_where_nobody_traces_no_line_says_anything_of_it(
    project: Project, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task module has loaded OpenTelemetry, and makes spans: they are none without a provider."""
    monkeypatch.setenv("UNTRACED", "yes")
    project.client.schedule_many([("in-a-thread", "t"), ("alone", "p"), ("on-the-loop", "l")])
    worker = start(processes=1)
    for instance in ("t", "p", "l"):
        worker.wait_event("execution.completed", instance=instance)
        assert worker.events("within", instance=instance)
    assert "trace_id" not in "".join(worker.lines)


@pytest.mark.parametrize("task", ["overrun", "overrun-alone"])
def test_a_run_that_is_ended_since_its_time_is_over_has_a_span(
    project: Project, start: Start, spans: Spans, exported: InMemorySpanExporter, task: str
) -> None:
    project.client.schedule(task, "x")
    worker = start(processes=1)
    [line] = worker.wait_event("execution.exhausted", instance="x")
    [run] = spans(f"run {task}")
    assert parent_of(run) == last(exported)
    assert run["status"] == "ERROR"
    assert run["why"] == "TimeoutError: it ran longer than its timeout of 0:00:00.300000"
    assert run["lasted_s"] > 0.25
    assert place(line) == (run["trace"], run["id"])


@pytest.mark.parametrize("task", ["wait", "wait-alone"])
def test_a_run_that_the_end_of_its_worker_cuts_short_has_a_span(
    project: Project, start: Start, spans: Spans, exported: InMemorySpanExporter, task: str
) -> None:
    project.client.schedule(task, "x")
    worker = start(processes=1, shutdown_timeout="300ms")
    worker.wait_event("waiting")
    worker.signal(signal.SIGTERM)
    assert worker.wait_exit() == 0
    [run] = spans(f"run {task}")
    assert parent_of(run) == last(exported)
    assert (run["status"], run["why"]) == ("ERROR", "its worker stopped it")


def test_a_run_that_kills_its_process_has_a_span(
    project: Project, start: Start, spans: Spans, exported: InMemorySpanExporter
) -> None:
    project.client.schedule("kill-itself", "x")
    worker = start(processes=1, max_crashes=1)
    [line] = worker.wait_event("execution.buried", instance="x")
    [run] = spans("run kill-itself")
    assert parent_of(run) == last(exported)
    assert run["status"] == "ERROR"
    assert run["why"].startswith("its process died: ")
    assert place(line) == (run["trace"], run["id"])


def test_spans_that_wait_for_their_batch_are_exported_as_their_process_ends(
    project: Project, start: Start, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK starts its exporting thread anew in each fork; without `flush` it would not come to anything."""
    monkeypatch.setenv("BATCHES", "yes")
    project.client.schedule_many([("follow", "t"), ("alone", "p")])
    worker = start(processes=1)
    for instance in ("t", "p"):
        worker.wait_event("execution.completed", instance=instance)
    assert len(wait_until(lambda: spans("run alone"))) == 1
    assert not spans("run follow")
    assert worker.stop() == 0
    assert len(spans("run follow")) == 1


def test_a_provider_that_raises_costs_spans_but_no_runs(
    project: Project, start: Start, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKEN", "yes")
    project.client.schedule_many([("follow", "t"), ("alone", "p"), ("on-the-loop", "l")])
    worker = start(processes=1)
    for instance in ("t", "p", "l"):
        worker.wait_event("execution.completed", instance=instance)
    assert {line["task"] for line in worker.events("execution.failed")} <= {"stumble"}
