"""How fast a backlog goes: goal, 60 % of the bare loop for `async def` and 45 % for `def`, better 120 % and 80 %."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench import bare, worker
from bench.figures import Figure, interleaved

if TYPE_CHECKING:
    from bench.server import Database

TUNED = ", concurrency: 50, batch_size: 500"
BARE = "bare SQL loop, 100 a pick"


def one_time(database: Database, executions: int, rounds: int) -> list[Figure]:
    """Executions that are deleted when they have succeeded."""

    def ours(task: str, options: str = "", level: str = "warning") -> float:
        database.refill(task, executions)
        return worker.drain(database.conninfo, task, executions, options=options, level=level)

    def limit() -> float:
        database.refill("bare", executions)
        return bare.drain(database.conninfo, executions)

    measures = {
        BARE: limit,
        "async def": partial(ours, "noop-async"),
        "def": partial(ours, "noop-def"),
        "async def, 50 slots, batch_size 500": partial(ours, "noop-async", TUNED),
        "def, 50 slots, batch_size 500": partial(ours, "noop-def", TUNED),
        "async def, a log line each (level info)": partial(ours, "noop-async", level="info"),
        "def, a log line each (level info)": partial(ours, "noop-def", level="info"),
    }
    return interleaved(measures, rounds=rounds, unit="/s", of=BARE)


def recurring(database: Database, executions: int, rounds: int) -> list[Figure]:
    """Executions that are given their next time."""

    def ours() -> float:
        database.refill("noop-recurring", executions)
        return worker.drain(database.conninfo, "noop-recurring", executions)

    def limit() -> float:
        database.refill("bare", executions)
        return bare.drain(database.conninfo, executions, bare.RESCHEDULE)

    measures = {"bare loop that reschedules": limit, "async def, recurring": ours}
    return interleaved(measures, rounds=rounds, unit="/s", of="bare loop that reschedules")
