"""Taking due executions, and knowing where they begin and when the next one comes.

A pick goes on where the last one ended (a mark for each priority), so it never reads again what it has passed: rows of
tasks that aren't ours, rows that others hold, index entries of rows long gone which somebody's open transaction keeps
from being swept. What appears behind a mark is found by the next survey; a notification moves the mark back at once.
"""

from __future__ import annotations

from datetime import MINYEAR
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pgsched.domain.execution import Held
from pgsched.store.operation import Operation, Query, array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from pgsched.store.operation import Row


class Mark(NamedTuple):
    """A place in the order of executions of one priority: where a pick ended, or where a survey says to begin."""

    since: datetime
    seq: int = 0

    @property
    def text(self) -> str:
        """For the database; its times may lie before Python's first year."""
        return "-infinity" if self.since.year == MINYEAR else self.since.isoformat()


Marks: TypeAlias = "Mapping[int | None, Mark]"
"""By priority, the most urgent first; None is the lowest."""


class Picked(NamedTuple):
    """What a pick took, when it was by the database's clock, and where the next one may go on."""

    at: datetime
    executions: list[Held]
    marks: Marks


class Survey(NamedTuple):
    """Where executions begin, whether any is due, and when the next one comes, in how many seconds; None for none.

    `took_s` is what the database took for it, without the way there and back; None where nothing was found.
    """

    marks: Marks
    is_any_due: bool
    coming_s: float | None
    coming: datetime | None = None
    took_s: float | None = None


ANY_SUSPICIONS = 2**31 - 1


def pick_query(
    poller: str,
    tasks: Sequence[str],
    marks: Marks,
    *,
    limit: int,
    most_suspicions: int = ANY_SUSPICIONS,
) -> Query:
    """Take up to `limit` due executions of `tasks` for `poller`, most urgent first, from `marks` on."""
    return Query(
        "pick_due",
        {
            "poller": poller,
            "tasks": tasks,
            "limit": limit,
            "most_suspicions": most_suspicions,
            "priorities": array(None if p is None else str(p) for p in marks),
            "sinces": array(mark.text for mark in marks.values()),
            "seqs": array(str(mark.seq) for mark in marks.values()),
        },
    )


def picked(rows: list[Row]) -> Picked:
    """What the answer to a `pick_query` says."""
    header = Held._make(rows[0])
    executions = [Held._make(row) for row in rows[1:]]
    if executions and executions[0].priority == executions[-1].priority:
        lasts = executions[-1:]
    else:
        lasts = list({each.priority: each for each in executions}.values())
    marks = {last.priority: Mark(last.execution_time, last.seq) for last in lasts}
    return Picked(header.execution_time, executions, marks)


def pick(poller: str, tasks: Sequence[str], marks: Marks, *, limit: int) -> Operation[Picked]:
    """As `pick_query`, alone."""
    rows = yield pick_query(poller, tasks, marks, limit=limit)
    return picked(rows)


def survey(tasks: Sequence[str], *, most_suspicions: int = ANY_SUSPICIONS) -> Operation[Survey]:
    """Look at the head of each task's queue: where to pick, and how long to sleep."""
    rows = yield Query("survey", {"tasks": tasks, "most_suspicions": most_suspicions})
    waits = [(wait, at) for *_, at, wait, _ in rows if wait is not None]
    coming_s, coming = min(waits, default=(None, None))
    return Survey(
        marks={priority: Mark(since) for priority, since, *_ in rows},
        is_any_due=any(is_due for _, _, is_due, *_ in rows),
        coming_s=coming_s,
        coming=coming,
        took_s=max((took_s for *_, took_s in rows), default=None),
    )


def overdue_unknown(known: Sequence[str], *, overdue: timedelta) -> Operation[list[str]]:
    """Which tasks, but for these, nobody seems to run: their executions have been due for longer than `overdue`."""
    rows = yield Query("overdue_unknown", {"tasks": list(known), "overdue": overdue})
    return [name for (name,) in rows]


def database_now() -> Operation[datetime]:
    """The database's time."""
    now: datetime
    [(now,)] = yield Query("database_now", {})
    return now
