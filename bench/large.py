"""A large table: each command's time with many rows beside its time with 10,000. Goal: within three times."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.figures import Figure
from pgsched import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.server import Database

SMALL = 10_000
FILL = """
insert into scheduled_tasks (task_name, task_instance, execution_time, priority, consecutive_failures)
select 'large-' || n %% 10, n::text, now() + (n - %s / 100) * interval '10 ms', nullif(n %% 3, 0),
  case when n %% 50 = 0 then 1 else 0 end
from generate_series(1, %s) as n
"""
TIMES = 20


def large(database: Database, rows: int) -> list[Figure]:
    """Medians of a few calls each, on the small table and on the large one."""
    small = _measured(database, SMALL)
    big = _measured(database, rows)
    figures = []
    for name, times in small.items():
        few, many = f"{name}, {SMALL:,} rows", f"{name}, {rows:,} rows"
        figures += [Figure(few, "ms", times), Figure(many, "ms", big[name], of=few)]
    return figures


def _measured(database: Database, rows: int) -> dict[str, list[float]]:
    database.empty()
    database.sql(FILL, rows, rows)
    database.settle()
    with Client(database.conninfo) as client:
        calls: dict[str, Callable[[int], object]] = {
            "schedule": lambda n: client.schedule("large-0", f"new-{n}"),
            "get": lambda n: client.get("large-1", str(n * 10 + 1)),
            "reschedule": lambda n: client.reschedule("large-0", f"new-{n}", priority=1),
            "cancel": lambda n: client.cancel("large-0", f"new-{n}"),
            "list": lambda _: client.list(limit=50),
            "list one task": lambda _: client.list(task="large-3", limit=50),
            "list due": lambda _: client.list(state="due", limit=50),
            "list scheduled": lambda _: client.list(state="scheduled", limit=50),
            "list running": lambda _: client.list(state="running", limit=50),
            "list retrying": lambda _: client.list(state="retrying", limit=50),
            "list failed": lambda _: client.list(state="failed", limit=50),
        }
        return {name: [_timed_ms(call, n) for n in range(TIMES)] for name, call in calls.items()}


def _timed_ms(call: Callable[[int], object], number: int) -> float:
    started = time.monotonic()
    call(number)
    return (time.monotonic() - started) * 1000
