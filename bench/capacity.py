"""What an execution costs the server: in a drain, and one by one as they come. The arithmetic of docs/scaling.md."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.figures import Figure
from bench.worker import worker
from pgsched import Client

if TYPE_CHECKING:
    from bench.server import Database

STEADY_RATE = 200
STEADY_S = 20

COUNTERS = """
select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8,
  (select sum(xact_commit)::float8 from pg_stat_database where datname = current_database()),
  (select (n_tup_upd + n_tup_del)::float8 from pg_stat_user_tables where relname = 'scheduled_tasks')
"""
UNITS = ("bytes of WAL", "transactions", "dead row versions")
CONNECTIONS = "select count(*) from pg_stat_activity where application_name like 'pgsched %'"


def capacity(database: Database, executions: int) -> list[Figure]:
    """Each per execution; scheduling included where they come one by one."""
    database.refill("noop-async", executions)
    before = _counters(database)
    with worker(database.conninfo):
        _wait_done(database)
        drained = _per_execution("drained", database, before, executions)
        [(connections,)] = database.sql(CONNECTIONS)
        before = _counters(database)
        _schedule_steadily(database)
        _wait_done(database)
        steady = _per_execution(f"{STEADY_RATE}/s", database, before, STEADY_RATE * STEADY_S)
    used = Figure("connections of a worker of two pollers", "", [float(connections)])
    return [*drained, *steady, used]


def _schedule_steadily(database: Database) -> None:
    with Client(database.conninfo) as client:
        started = time.monotonic()
        for number in range(STEADY_RATE * STEADY_S):
            time.sleep(max(0.0, started + number / STEADY_RATE - time.monotonic()))
            client.schedule("noop-async", f"steady-{number}")


def _wait_done(database: Database) -> None:
    while database.sql("select 1 from scheduled_tasks where task_name = 'noop-async' limit 1"):
        time.sleep(0.2)
    time.sleep(2.0)  # what the server counts it tells a second late


def _counters(database: Database) -> list[float]:
    [counters] = database.sql(COUNTERS)
    return list(counters)


def _per_execution(
    name: str, database: Database, before: list[float], executions: int
) -> list[Figure]:
    after = _counters(database)
    return [
        Figure(f"{name}: {unit} an execution", "", [(now - then) / executions])
        for unit, then, now in zip(UNITS, before, after, strict=True)
    ]
