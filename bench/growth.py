"""What must not grow (spec §9): the rate of a drain beside crowds of all kinds; goal, 80 % of the clean run."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from bench import worker
from bench.figures import Figure, interleaved

if TYPE_CHECKING:
    from collections.abc import Generator

    from bench.server import Database

TASK = "noop-async"
CLEAN = "nothing else in the table"
FUTURE = """
insert into scheduled_tasks (task_name, task_instance, execution_time, priority)
select 'mark', n::text, now() + interval '1 day' + n * interval '1 ms', 5 from generate_series(1, %s) as n
"""
UNKNOWN = """
insert into scheduled_tasks (task_name, task_instance, execution_time, priority)
select 'unknown', n::text, now() - interval '1 day', {priority} from generate_series(1, %s) as n
"""
PICKED = """
insert into scheduled_tasks (task_name, task_instance, picked, picked_by, last_heartbeat)
select 'mark', n::text, true, 'other-' || n %% 50, now() + interval '3 minutes' from generate_series(1, %s) as n
"""
CONNECTED = """
select count(*) from pg_stat_activity where datname = current_database() and application_name ~ '^pgsched .*/[0-9]+-'
"""


def growth(database: Database, executions: int, rounds: int, *, scale: float) -> list[Figure]:
    """The clean run and five crowds; `scale` 1 is 5 million rows for the future, 1 million unknown."""
    future, unknown = int(5_000_000 * scale), int(1_000_000 * scale)

    def drain(crowd: str = "", rows: int = 0, *, pin: bool = False, idle: int = 0) -> float:
        database.empty()
        if crowd:
            database.sql(crowd, rows)
        database.fill(TASK, executions)
        database.settle()
        with ExitStack() as stack:
            for _ in range(idle):
                stack.enter_context(worker.worker(database.conninfo, modules="bench.others"))
            while database.sql(CONNECTED) != [(2 * idle,)]:
                time.sleep(0.5)
            if idle:
                time.sleep(3)  # they have started, and settled
            if pin:
                stack.enter_context(_pinned(database.conninfo))
            return worker.drain(database.conninfo, TASK, executions)

    measures = {
        CLEAN: drain,
        f"{future:,} for the future, more urgent": partial(drain, FUTURE, future),
        f"{unknown:,} due of unknown tasks, more urgent": partial(
            drain, UNKNOWN.format(priority=5), unknown
        ),
        f"{unknown:,} due of unknown tasks, as urgent": partial(
            drain, UNKNOWN.format(priority="null"), unknown
        ),
        "100,000 picked by others": partial(drain, PICKED, 100_000),
        "a transaction open all the while": partial(drain, pin=True),
        "20 idle workers beside": partial(drain, idle=20),
    }
    return interleaved(measures, rounds=rounds, unit="/s", of=CLEAN)


@contextmanager
def _pinned(conninfo: str) -> Generator[None]:
    """A REPEATABLE READ transaction: no row version that it could still see may be swept."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("set transaction isolation level repeatable read")
        connection.execute("select from scheduled_tasks limit 1")
        yield
        connection.rollback()
