"""Where the time inside Postgres goes: a drain, told by statements (pg_stat_statements), on a server of its own."""

from __future__ import annotations

from bench import worker
from bench.figures import Figure
from bench.server import Database, profiled_database

TOP = """
with known as (
  select case
      when query like '%%skip locked%%' then 'pick'
      when query like 'delete from%%' then 'complete'
      when query like 'with changed as%%' then 'complete, and its next time'
      when query like 'with recursive queue%%' then 'survey'
    end as what, *
  from pg_stat_statements
  where dbid = (select oid from pg_database where datname = current_database())
)
select what, sum(calls), sum(total_exec_time + total_plan_time) * 1000, sum(rows),
  sum(shared_blks_hit + shared_blks_read), sum(wal_bytes)
from known where what is not null group by what order by 3 desc
"""


def statements(executions: int) -> list[Figure]:
    """Per execution: microseconds, pages and bytes of WAL of each kind of statement, the costliest first."""
    with profiled_database() as database:
        return [
            *_profile(database, "noop-async", executions),
            *_profile(database, "noop-recurring", executions),
        ]


def _profile(database: Database, task: str, executions: int) -> list[Figure]:
    database.refill(task, executions)
    database.sql("select pg_stat_statements_reset()")
    worker.drain(database.conninfo, task, executions)
    figures = []
    for what, calls, took_us, rows, pages, wal_bytes in database.sql(TOP):
        name = f"{task}: {what} ({calls:,} calls, {rows / max(1, calls):.0f} rows each)"
        figures += [
            Figure(name, "µs an execution", [float(took_us) / executions]),
            Figure(f"{name}: pages", "an execution", [float(pages) / executions]),
            Figure(f"{name}: WAL", "bytes an execution", [float(wal_bytes) / executions]),
        ]
    return figures
