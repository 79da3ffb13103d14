"""An overview as a screen for people: what is wrong first. Draws nothing by itself and knows no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pgsched.cli.output import one_line, relative, table_of
from pgsched.domain.instant import iso
from pgsched.domain.overview import Severity, problems_of
from pgsched.domain.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from rich.console import ConsoleRenderable

    from pgsched.domain.overview import Overview, Queue, RecurringTask
    from pgsched.domain.presence import Seen

MOST_WORKERS = 20
MOST_RECURRING = 20
"""One screen; `--json` has them all."""

MOST_SILENT = 5
"""Of those in whose name nothing is left: where pods crash, each of them leaves another name behind."""

LONGEST_NAME = 40
LONGEST_ERROR = 60

STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow"}


def screen_of(overview: Overview) -> Iterator[ConsoleRenderable]:
    """The parts of the screen, from the top down."""
    yield Text(_summary(overview), style="bold")
    problems = problems_of(overview)
    for problem in problems:
        yield line_of(problem.severity, problem.message)
    if not problems:
        yield Text("nothing is wrong", style="green")
    yield Text("")
    yield _queue(overview.queue, overview.at)
    for part in (_workers(overview), _troubled(overview), _recurring(overview)):
        if part is not None:
            yield Text("")
            yield part


def line_of(severity: Severity, message: str) -> Text:
    """One problem, on one line."""
    return Text(printable(f"{severity:<7}  {message}"), style=STYLES[severity])


def _summary(overview: Overview) -> str:
    alive = [seen.presence for seen in overview.alive]
    pollers, busy, slots = (
        sum(getattr(presence, field) for presence in alive)
        for field in ("pollers", "busy", "slots")
    )
    at = iso(overview.at.replace(microsecond=0))
    return f"{at}  workers alive: {len(alive)}  pollers: {pollers}  slots busy: {busy}/{slots}"


def _queue(queue: Queue, at: datetime) -> ConsoleRenderable:
    states = ("due", "scheduled", "running", "retrying", "failed")
    counts = [
        f"{getattr(queue, state)}{'+' if state in queue.at_least else ''}" for state in states
    ]
    return table_of((*states, "oldest due"), [[*counts, _ago(queue.oldest_due_at, at)]])


def _workers(overview: Overview) -> ConsoleRenderable | None:
    columns = ("worker", "host", "pid", "version", "state", "pollers", "busy", "seen", "progress")
    holding = [seen for seen in overview.silent if seen.held]
    others = [seen for seen in overview.silent if not seen.held]
    shown = [*holding, *overview.alive, *others[:MOST_SILENT]][:MOST_WORKERS]
    rows = [_worker(seen, overview.at) for seen in shown]
    return _table(columns, rows, more=len(overview.workers) - len(shown))


def _worker(seen: Seen, at: datetime) -> list[str]:
    presence = seen.presence
    return [
        cut(presence.worker, LONGEST_NAME),
        cut(presence.host, LONGEST_NAME),
        str(presence.pid),
        presence.version,
        _state(seen),
        str(presence.pollers),
        f"{presence.busy}/{presence.slots}",
        _ago(seen.seen_at, at),
        _ago(presence.progressed_at, at),
    ]


def _state(seen: Seen) -> str:
    if seen.is_alive:
        return seen.presence.state
    return f"silent, holds {seen.held}" if seen.held else "silent"


def _troubled(overview: Overview) -> ConsoleRenderable | None:
    """Tasks whose executions fail, and those that have failed for good."""
    columns = ("task", "failing", "in a row", "last failure", "failed", "last failed", "error")
    failing = {each.task: each for each in overview.failing}
    failed = {each.task: each for each in overview.failed}
    rows = []
    for name in dict.fromkeys([*failed, *failing]):
        row = [cut(name, LONGEST_NAME), *["0", "", ""], *["0", "", ""]]
        if tried := failing.get(name):
            last = _ago(tried.last_failure, overview.at)
            row[1:4] = [str(tried.executions), str(tried.most_failures), last]
        if lost := failed.get(name):
            error = one_line(lost.last_error, limit=LONGEST_ERROR)
            row[4:] = [str(lost.executions), _ago(lost.last_failed_at, overview.at), error]
        rows.append(row)
    return _table(columns, rows)


def _recurring(overview: Overview) -> ConsoleRenderable | None:
    columns = ("recurring task", "state", "next run", "last success", "failures")
    ordered = sorted(overview.recurring, key=_when)
    rows = [_recurring_row(each, overview.at) for each in ordered[:MOST_RECURRING]]
    return _table(columns, rows, more=len(ordered) - MOST_RECURRING)


def _when(each: RecurringTask) -> tuple[bool, str]:
    """Those without an execution first, then the next to run."""
    return (each.execution_time is not None, str(each.execution_time))


def _recurring_row(each: RecurringTask, at: datetime) -> list[str]:
    return [
        cut(each.task, LONGEST_NAME),
        each.state or "missing",
        _ago(each.execution_time, at),
        _ago(each.last_success, at),
        str(each.consecutive_failures or 0),
    ]


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, more: int = 0
) -> ConsoleRenderable | None:
    if not rows:
        return None
    last = [[f"… {more} more: --json", *([""] * (len(columns) - 1))]] if more > 0 else []
    return table_of(columns, [*rows, *last])


def _ago(instant: datetime | None, at: datetime) -> str:
    return relative(instant, at) if instant else ""
