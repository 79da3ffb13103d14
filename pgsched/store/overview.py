"""How the table and its workers do: everything that a person looks at first, in one round trip. Bounded: each number is
counted up to `MOST_COUNTED`, and no statement takes longer than `LONGEST`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pgsched.domain.execution import RECURRING_INSTANCE, State
from pgsched.domain.overview import (
    MOST_COUNTED,
    DueTask,
    FailedTask,
    FailingTask,
    Overview,
    Queue,
    RecurringTask,
)
from pgsched.domain.presence import Presence, Seen
from pgsched.store.connecting import translated, worker_settings
from pgsched.store.operation import Query, run_together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

    from pgsched.store.operation import Row
    from pgsched.store.statement import Names

LONGEST = timedelta(seconds=10)
"""A view must not add to what it shows."""

MOST_TASKS = 10
"""By task, a person reads the worst."""

_SETTINGS = worker_settings(LONGEST, timedelta(seconds=2))
_MOST = {"most": MOST_COUNTED}

QUERIES = (
    Query("set_for_transaction", {"names": list(_SETTINGS), "values": list(_SETTINGS.values())}),
    Query("count_states", _MOST),
    Query("list_workers", _MOST),
    Query("due_tasks", {}),
    Query("failing_tasks", {**_MOST, "limit": MOST_TASKS}),
    Query("failed_tasks", {**_MOST, "limit": MOST_TASKS}),
    Query("recurring_tasks", {"instance": RECURRING_INSTANCE}),
)


def overview(connection: Connection[Any], names: Names) -> Overview:
    """Raises: DatabaseUnavailable, SchemaMismatch."""
    with translated():
        _, [counts], workers, due, failing, failed, recurring = (
            [_in_utc(row) for row in rows] for rows in run_together(connection, names, QUERIES)
        )
    return Overview(
        at=counts[0],
        workers=[Seen(Presence(*row[:16]), *row[16:]) for row in workers],
        queue=queue_of(counts),
        due=[DueTask(*row) for row in due],
        failing=[FailingTask(*row) for row in failing],
        failed=[FailedTask(*row) for row in failed],
        recurring=[_recurring(row) for row in recurring],
    )


def _in_utc(row: Row) -> Row:
    return tuple(each.astimezone(UTC) if isinstance(each, datetime) else each for each in row)


def queue_of(row: Row) -> Queue:
    """What `count_states` says. Those tried again are among those of later: what is scheduled is the rest of them."""
    _, due, later, running, retrying, failed, oldest_due_at = row
    scheduled = min(max(0, later - retrying), MOST_COUNTED)
    reached = {
        "due": due,
        "scheduled": scheduled,
        "running": running,
        "retrying": retrying,
        "failed": failed,
    }
    at_least = tuple(state for state, number in reached.items() if number >= MOST_COUNTED)
    return Queue(due, scheduled, running, retrying, failed, at_least, oldest_due_at)


def _recurring(row: Sequence[Any]) -> RecurringTask:
    name, state, *rest = row
    return RecurringTask(name, None if state is None else State(state), *rest)
