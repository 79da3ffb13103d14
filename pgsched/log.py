"""What happened, as events: one enum of names, one set-up of structlog.

Facts are fields, never prose. Data and DSNs are never logged. Logs go to stderr, each line in one write, so that the
lines of several processes do not mix (those beyond 4096 bytes may, in a pipe that is full).
"""

from __future__ import annotations

import logging
import select
import sys
from contextlib import suppress
from contextvars import ContextVar
from enum import StrEnum
from json import JSONEncoder
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog

from pgsched.domain.mask import NO_MASK, Mask
from pgsched.domain.text import printable, printable_json
from pgsched.tracing import active_span, run_span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pgsched.domain.execution import Held
    from pgsched.domain.outcome import SpanIds

PATIENCE_S = 1.0
"""Who reads the lines may be slow for a moment. Beyond it they are lost: a process that waits can't beat or stop."""

PIECE_BYTES = 4096
"""What is written to a pipe at once, and is not longer, no other process's lines can come into (PIPE_BUF)."""

_RUNNING: ContextVar[Held | None] = ContextVar("pgsched_running", default=None)
"""What the code that logs is part of. (One variable: to set one for each fact would cost 20 times as much a run.)"""


class Event(StrEnum):
    """A noun and what became of it. The reference page is made from this list: each member has its sentence."""

    WORKER_STARTED = "worker.started"
    """A worker's supervisor is up and forks its processes."""
    WORKER_STOPPING = "worker.stopping"
    """A signal asked the worker to stop; `signal` says which, `at_once` whether running tasks may finish."""
    WORKER_STOPPED = "worker.stopped"
    """All processes of the worker have ended; after a reload: those of the generation whose supervisor is `pid`."""
    WORKER_RELOADED = "worker.reloaded"
    """The next generation, with code and config of now, works in the former one's place; `pid` is its supervisor."""
    WORKER_RELOAD_REFUSED = "worker.reload_refused"
    """The next generation can't work, `error` says why; the former one goes on. Somebody must act, and reload again."""
    WORKER_ORPHANED = "worker.orphaned"
    """The main process of this reloaded worker is gone: it drains and ends."""
    SUPERVISOR_DIED = "supervisor.died"
    """A reloaded worker's supervisor ended unexpectedly. Its pollers drain; the worker ends, to be started again."""
    WORKER_UNSEEN = "worker.unseen"
    """The worker can't write its row for `pgsched status`: told once. It works as well without."""
    WORKER_GAVE_UP = "worker.gave_up"
    """Pollers died at every start: somebody must act."""
    FORK_FAILED = "fork.failed"
    """The machine had no process or descriptor to spare for one of the worker's; it is tried again after a pause."""
    LIMIT_TOO_LOW = "limit.too_low"
    """A process holds more than it may (`key`, `limit_mb`) before it has run anything: runs cost a process each."""
    POLLER_STARTED = "poller.started"
    """A poller process is connected and picks; `pid` is its process."""
    POLLER_STOPPED = "poller.stopped"
    """A poller ended in order."""
    POLLER_DIED = "poller.died"
    """A poller ended by a signal or an error; it is restarted and what it held is recovered."""
    POLLER_KILLED = "poller.killed"
    """A poller did not end within the shutdown timeout and was killed by its supervisor."""
    POLLER_ORPHANED = "poller.orphaned"
    """The supervisor of this process is gone: it drains and ends."""
    POLLER_RECYCLED = "poller.recycled"
    """A poller makes room for another process, for the `reason` given: what runs ends first, unless it overran."""
    POLLER_OUT_OF_TOUCH = "poller.out_of_touch"
    """No beat has reached the database for most of the heartbeat timeout: others may soon take what it runs."""
    POLLER_STALLED = "poller.stalled"
    """The loop of a poller stands still: one of the tasks that it runs holds the GIL, or the process is stopped."""
    LOOP_BLOCKED = "event_loop.blocked"
    """An async task has held the event loop for seconds: other async tasks of its poller wait for it."""
    HOUSEKEEPER_STARTED = "housekeeper.started"
    """The process that beats and recovers is up."""
    HOUSEKEEPER_DIED = "housekeeper.died"
    """The housekeeper ended unexpectedly; it is restarted."""
    HOUSEKEEPER_KILLED = "housekeeper.killed"
    """It stood still, and is replaced."""
    REPORTER_STARTED = "reporter.started"
    """Health and metrics are served; `host` and `port` say where."""
    REPORTER_DIED = "reporter.died"
    """The process that serves health and metrics ended unexpectedly; it is restarted. Tasks run on meanwhile."""
    REPORTER_KILLED = "reporter.killed"
    """It stood still, and is replaced."""
    PORT_REFUSED = "monitoring_port.refused"
    """`monitoring.host` and `port` can't be listened on: nobody can see how the worker fares. It is tried again."""
    CLOCK_JUMPED = "database_clock.jumped"
    """The database's clock has jumped: nobody is called dead before all have beaten by the new time."""
    INDEX_MENDED = "index.mended"
    """Maintenance has rebuilt an index, or dropped what a broken rebuild had left, for the `reason` given."""
    INDEX_NOT_MENDED = "index.not_mended"
    """Maintenance could not do so: `error` says why. The index is as it was; `pgsched maintenance` tries it again."""
    MAINTENANCE_FAILED = "maintenance.failed"
    """The indexes could not be looked after; that is tried again within `worker.maintenance_interval`."""
    EXECUTION_COMPLETED = "execution.completed"
    """A run succeeded and its completion is written."""
    EXECUTION_FAILED = "execution.failed"
    """A run failed and will be retried, or waits for its next scheduled time."""
    EXECUTION_EXHAUSTED = "execution.exhausted"
    """A run failed, no retries are left: the execution is now a failed execution."""
    EXECUTION_RELEASED = "execution.released"
    """An execution was handed back: due at once, no retry used."""
    EXECUTION_RECOVERED = "execution.recovered"
    """A dead execution was made due again; `crashes` counts how often in a row."""
    EXECUTION_BURIED = "execution.buried"
    """An execution whose workers died too often in a row is now a failed execution."""
    EXECUTION_OVERRAN = "execution.overran"
    """A sync task ran longer than its timeout; its poller is replaced, so that it ends."""
    COMPLETION_STALE = "completion.stale"
    """A result came too late: the execution had been recovered or changed meanwhile. Nothing was written."""
    COMPLETION_REFUSED = "completion.refused"
    """The database refused what a completion would write; the run counts as failed instead."""
    RECOVERY_REFUSED = "recovery.refused"
    """The database refuses that dead executions be due again (a trigger of somebody's?). It is tried again."""
    HANDLER_BROKEN = "failure_handler.broken"
    """A user's failure handler or schedule raised; the default was used."""
    DATABASE_LOST = "database.lost"
    """The database can't be reached (`poller` or `connection`: by whom); running tasks go on, results wait."""
    DATABASE_REGAINED = "database.regained"
    """The database answers again."""
    LINES_LOST = "log.lines_lost"
    """Nobody read the log for more than a second: so many `lines` of this process were lost, until now."""
    POOLER_NOT_FOUND = "pooler.not_found"
    """`database.pooler` is set, but the DSN leads to Postgres itself: without it wake-ups would be heard."""
    EMBEDDED_NOT_FOR_PRODUCTION = "embedded.not_for_production"
    """An embedded Postgres is used: fine for development only."""
    TASK_SCHEDULED = "task.scheduled"
    """A recurring task that was not there yet has been scheduled."""
    TASK_UNKNOWN = "task.unknown"
    """Executions of a task that this worker doesn't know are overdue: was it renamed or removed? They stay."""
    TASK_DUE_LATER = "task.due_later"
    """A recurring task is due later than its schedule says: that was changed, or it was put off. It stays so."""


class Logger:
    """A thin front of structlog: an event and its facts."""

    def __init__(self, **facts: Any) -> None:
        self._log = structlog.get_logger().bind(**facts) if facts else structlog.get_logger()

    def is_enabled(self, level: int) -> bool:
        """Whether events of a level (of `logging`) are written: what is told of each execution costs."""
        return bool(self._log.is_enabled_for(level))

    def at(self, level: int, event: Event, **facts: Any) -> None:
        """Tell it at a level of `logging`."""
        self._log.log(level, event.value, **facts)

    def info_each(self, event: Event, each: Iterable[Mapping[str, Any]]) -> None:
        """Tell the same of many, as of one moment, with these facts of each.

        What their lines have in common is worked out once, and as many are written at once as a pipe takes in one
        piece: a third of what it costs to tell each by itself.
        """
        if not self.is_enabled(logging.INFO):
            return
        config = structlog.get_config()
        processors = config["processors"]
        alone = processors.index(_apart) if _apart in processors else 0
        told: structlog.types.EventDict = {**structlog.get_context(self._log), "event": event.value}
        common = _processed(told, processors[:alone])
        lines = (_processed({**common, **facts}, processors[alone:]) for facts in each)
        writer = config["logger_factory"]()
        for together in _pieces(lines):
            writer.msg(together)

    def debug(self, event: Event, **facts: Any) -> None:
        self._log.debug(event.value, **facts)

    def info(self, event: Event, **facts: Any) -> None:
        self._log.info(event.value, **facts)

    def warning(self, event: Event, **facts: Any) -> None:
        self._log.warning(event.value, **facts)

    def error(self, event: Event, **facts: Any) -> None:
        self._log.error(event.value, **facts)


def _processed(event: Any, processors: Iterable[structlog.types.Processor]) -> Any:
    """What is left of an event's facts, in the end a line; None where a processor keeps it for itself."""
    try:
        for processor in processors:
            event = processor(None, "info", event)
    except structlog.DropEvent:
        return None
    return event


def _pieces(lines: Iterable[str | None]) -> Iterator[str]:
    """The lines, as many together as a pipe keeps together; a longer one by itself."""
    together: list[str] = []
    room = PIECE_BYTES
    for line in lines:
        if line is None:
            continue
        size = len(line.encode("utf-8", "replace")) + 1
        if size > room and together:
            yield "\n".join(together)
            together, room = [], PIECE_BYTES
        together.append(line)
        room -= size
    if together:
        yield "\n".join(together)


def bind_run(execution: Held) -> None:
    """What is logged in this context (of `contextvars`) from now on is told with the execution that it is part of."""
    _RUNNING.set(execution)


def bound_logger(execution: Held) -> Any:
    """A structlog logger for user code, for any thread."""
    return structlog.get_logger().bind(**_facts_of(execution, run_span()))


def _facts_of(execution: Held, span: SpanIds | None) -> dict[str, Any]:
    facts = {
        "task": execution.task_name,
        "instance": execution.task_instance,
        "attempt": execution.consecutive_failures + 1,
    }
    return facts if span is None else {**facts, **span._asdict()}


def _with_run(
    _logger: Any, _method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    execution = _RUNNING.get()
    return event if execution is None else {**_facts_of(execution, active_span()), **event}


class _Unfailing:
    """A stream whose troubles (a full disk, a reader who has left or reads no more, a task that closed it) cost lines,
    not processes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._patience_s = PATIENCE_S
        self._lost = 0

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            if not self._has_room():
                self._lost += text.count("\n")
                return
            self._stream.write(text)
            if self._lost:
                lost, self._lost = self._lost, 0
                self._stream.write(_loss(lost))

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def _has_room(self) -> bool:
        """Waits for the reader once; until he reads again, no more."""
        poll = select.poll()
        poll.register(self._stream.fileno(), select.POLLOUT)
        has_room = bool(poll.poll(self._patience_s * 1000))
        self._patience_s = PATIENCE_S if has_room else 0.0
        return has_room


def _loss(lines: int) -> str:
    """The line that tells of it, if the level lets it: not written here, as whoever writes has structlog's lock."""
    returning = structlog.wrap_logger(structlog.testing.ReturnLogger())
    line = returning.warning(Event.LINES_LOST.value, lines=lines)
    return f"{line}\n" if line else ""


def level_of(name: str) -> int:
    """The level of `logging` that has this name, whatever its case."""
    return logging.getLevelNamesMapping()[name.upper()]


def configure_logging(*, json: bool, level: str, mask: Mask = NO_MASK) -> None:
    """Send pgsched's events and the standard library's records to stderr, in one form, without what `mask` hides.

    Call once per process tree.
    """
    threshold = level_of(level)
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_run,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _event_first,
    ]
    rendering: list[structlog.types.Processor] = [
        structlog.processors.format_exc_info,
        *_renderers(json=json),
        lambda _logger, _method, line: mask.hide(cast("str", line)),
    ]
    stream = cast("TextIO", _Unfailing(sys.stderr))
    structlog.configure(
        processors=[*shared, _apart, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.ExtraAdder(),
                *shared,
                structlog.stdlib.add_logger_name,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *rendering,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    # Of each connection that breaks it says how it was cleaned up; that it broke is an event of ours.
    logging.getLogger("psycopg").setLevel(max(threshold, logging.ERROR))


def _event_first(
    _logger: Any, _method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    """When, how bad, what; then the facts in their order: lines are read by people too."""
    first = {key: event[key] for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


def _apart(
    _logger: Any, _method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    """What comes before is the same for events of one moment."""
    return event


def _renderers(*, json: bool) -> list[structlog.types.Processor]:
    """From facts to a line in which names and errors of others can't move a terminal, nor a program's values change.

    Tracebacks are plain: pretty ones show what variables hold, and that is data.
    """
    if json:
        encode = JSONEncoder(default=str, ensure_ascii=False).encode
        return [lambda _logger, _method, event: printable_json(encode(event))]
    plain = structlog.dev.plain_traceback
    colors = sys.stderr.isatty()
    return [_printable, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]


def _printable(
    _logger: Any, _method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    """Texts on one line each, but for an exception's, which has lines of its own."""
    for key, value in event.items():
        if key == "exception":
            event[key] = "\n".join(map(printable, str(value).split("\n")))
        elif isinstance(value, str):
            event[key] = printable(value)
    return event
