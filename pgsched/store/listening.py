"""Hears what schedulers notify: when the next execution is due. A hint only: nothing is lost if it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from psycopg import sql

from pgsched.store.connecting import translated

if TYPE_CHECKING:
    import psycopg

    from pgsched.store.statement import Names


class Listener:
    """A connection that listens; `fileno` is readable when there is something to `hear`."""

    def __init__(self, connection: psycopg.Connection[Any], names: Names) -> None:
        self._connection = connection
        with translated():
            connection.execute(sql.SQL("listen {}").format(sql.Identifier(names.channel)))

    def fileno(self) -> int:
        return self._connection.fileno()

    def hear(self) -> float | None:
        """The soonest due time notified since the last call, in seconds of the Unix epoch; None for none.

        A payload that is no number (somebody else's `notify`) means now. Raises: DatabaseUnavailable.
        """
        with translated():
            heard = [_due(notice.payload) for notice in self._connection.notifies(timeout=0)]
        return min(heard, default=None)

    def probe(self) -> None:
        """Ask the server anything: a half-open connection stays silent for ever. Raises: DatabaseUnavailable."""
        with translated():
            self._connection.execute("select 1")

    def close(self) -> None:
        self._connection.close()


def _due(payload: str) -> float:
    try:
        due = float(payload)
    except ValueError:
        return 0.0
    return due if math.isfinite(due) else 0.0
