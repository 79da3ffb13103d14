"""Hears what schedulers notify: when the next execution is due. A hint only: nothing is lost if it is."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg import sql

from pgsched.store.connecting import translated

if TYPE_CHECKING:
    import psycopg

    from pgsched.store.connecting import Watching
    from pgsched.store.statement import Names


ANY_LEVEL = math.inf
NO_PRIORITY = -math.inf
"""The lowest level of all."""


PAYLOAD = re.compile(r"(-?\d{1,12}(?:\.\d{1,6})?)(?: (-|-?\d{1,9}))?")
"""Longer numbers, and with them the very largest priorities, are taken for somebody else's."""

MOST_LEVELS = 100
"""More in one moment count as any."""


class Hint(NamedTuple):
    """Something is due at this time (seconds of the Unix epoch) at this level: a priority, none, or it wasn't said."""

    due: float
    level: float = ANY_LEVEL

    @classmethod
    def read(cls, payload: str) -> Hint:
        """A payload of ours is a time, or a time and a priority; anything else (somebody's `notify`) means now."""
        parts = PAYLOAD.fullmatch(payload)
        if parts is None:
            return NOW
        due, priority = parts.groups()
        level = {None: ANY_LEVEL, "-": NO_PRIORITY}.get(priority)
        return cls(float(due), float(priority) if level is None else level)


NOW = Hint(0.0)


class Listener:
    """A connection that listens; `fileno` is readable when there is something to `hear`."""

    def __init__(self, connection: psycopg.Connection[Any], names: Names, guard: Watching) -> None:
        self._connection = connection
        self._guard = guard
        with translated(), guard.watching(connection):
            connection.execute(sql.SQL("listen {}").format(sql.Identifier(names.channel)))

    def fileno(self) -> int:
        return self._connection.fileno()

    def hear(self) -> list[Hint]:
        """What was notified since the last call: the soonest of each level. Raises: DatabaseUnavailable."""
        with translated():
            heard = [Hint.read(notice.payload) for notice in self._connection.notifies(timeout=0)]
        soonest = {hint.level: hint for hint in sorted(heard, reverse=True)}
        if len(soonest) > MOST_LEVELS:
            return [Hint(min(heard).due)]
        return list(soonest.values())

    def probe(self) -> None:
        """Ask the server anything: a half-open connection stays silent for ever. Raises: DatabaseUnavailable."""
        with translated(), self._guard.watching(self._connection):
            self._connection.execute("select 1")

    def close(self) -> None:
        self._connection.close()
