"""The tasks of a worker that has nothing to do with the ones measured."""

from __future__ import annotations

from pgsched import one_time


@one_time("something-else")
def something_else() -> None: ...
