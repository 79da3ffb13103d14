"""How much there is in the table, and how it fares: for one worker of the cluster to look at, four times a minute.

Never counts without a bound: of a table of a hundred million rows some hundred thousand index entries are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pgsched.domain.execution import RECURRING_INSTANCE
from pgsched.domain.overview import MOST_COUNTED
from pgsched.store.operation import Operation, Query
from pgsched.store.overview import queue_of
from pgsched.store.picking import survey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pgsched.store.statement import Names


class Readiness(NamedTuple):
    """Whether the server takes writes, its schema version, whether that is right for us, and its time."""

    is_writable: bool
    version: int
    is_right: bool
    at: datetime


class Sample(NamedTuple):
    """What one look found. `executions` by state; times of recurring tasks in Unix time."""

    executions: Mapping[str, int]
    oldest_due_age_s: float
    workers: int
    dead_rows: int
    oldest_transaction_age_s: float
    next_runs: Mapping[str, float]
    last_successes: Mapping[str, float]


def readiness(needed: int) -> Operation[Readiness]:
    """For a release that needs this schema version."""
    [(is_writable, version, works, at)] = yield Query("readiness", {"known": needed})
    found = version or 0
    return Readiness(is_writable, found, works and found >= needed, at)


def sample(names: Names, tasks: Sequence[str], recurring: Sequence[str]) -> Operation[Sample]:
    """Look once; `tasks` are those that the asking worker knows."""
    [counted] = yield Query("count_states", {"most": MOST_COUNTED})
    queue = queue_of(counted)
    [(told, workers)] = yield Query("known_tasks", {})
    known = sorted({*tasks, *told})
    [(unknown,)] = yield Query("sample_unknown", {"tasks": known, "most": MOST_COUNTED})
    oldest_due_age_s = yield from _oldest_due_age_s(known)
    [(dead_rows, transaction_age_s)] = yield Query("sample_server", {"table": _quoted(names)})
    rows = yield Query(
        "sample_recurring", {"tasks": list(recurring), "instance": RECURRING_INSTANCE}
    )
    return Sample(
        executions={
            "due": queue.due,
            "scheduled": queue.scheduled,
            "running": queue.running,
            "retrying": queue.retrying,
            "failed": queue.failed,
            "unknown": unknown,
        },
        oldest_due_age_s=oldest_due_age_s,
        workers=workers,
        dead_rows=dead_rows,
        oldest_transaction_age_s=max(0.0, transaction_age_s),
        next_runs={name: at for name, at, _ in rows},
        last_successes={name: at for name, _, at in rows if at is not None},
    )


def _oldest_due_age_s(tasks: list[str]) -> Operation[float]:
    """By the heads of the queues."""
    found = yield from survey(tasks)
    [(now,)] = yield Query("database_now", {})
    ages_s: list[float] = [(now - mark.since).total_seconds() for mark in found.marks.values()]
    return max(0.0, *ages_s, 0.0)


def _quoted(names: Names) -> Any:
    return names.identifiers()["table"].as_string(None)
