"""Taking due executions, and knowing when the next one comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgsched.domain.execution import Held
from pgsched.store.operation import Operation, Query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta


class Picked(NamedTuple):
    """What a pick took, and when it was by the database's clock."""

    at: datetime
    executions: list[Held]


def pick(poller: str, tasks: Sequence[str], *, limit: int) -> Operation[Picked]:
    """Take up to `limit` due executions of `tasks` for `poller`, most urgent first."""
    rows = yield Query("pick_due", {"poller": poller, "tasks": tasks, "limit": limit})
    return Picked(
        at=rows[0][0], executions=[Held._make(row[1:]) for row in rows if row[1] is not None]
    )


def next_due(since: datetime) -> Operation[timedelta | None]:
    """How long until the next execution that is due after `since`; negative where it is due already."""
    [(wait,)] = yield Query("next_due", {"since": since})
    return wait  # type: ignore[no-any-return]  # a row is a tuple of Any


def database_now() -> Operation[datetime]:
    """The database's time."""
    [(now,)] = yield Query("database_now", {})
    return now  # type: ignore[no-any-return]  # a row is a tuple of Any
