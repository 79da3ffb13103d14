"""What hash partitions of the table would gain: the bare loop on the table as it is, and on one in eight partitions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench import bare
from bench.figures import Figure, interleaved

if TYPE_CHECKING:
    from bench.server import Database

PARTITIONS = 8
CROWDS = (2, 8)
"""Processes that pick at once."""

SPLIT = """
alter table scheduled_tasks rename to whole;
create table scheduled_tasks (like whole including defaults including identity)
partition by hash (task_name, task_instance);
alter table scheduled_tasks add primary key (task_name, task_instance);
create index on scheduled_tasks (priority desc nulls last, execution_time, seq) where picked = false;
create index on scheduled_tasks (task_name, priority desc nulls last, execution_time) where picked = false;
create index on scheduled_tasks (picked_by) where picked;
create index on scheduled_tasks (execution_time) where picked = false and consecutive_failures > 0
"""
PART = """
create table part_{number} partition of scheduled_tasks for values with (modulus {of}, remainder {number})
with (fillfactor = 70, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.02)
"""
UNITE = "drop table scheduled_tasks; alter table whole rename to scheduled_tasks"


def partitions(database: Database, executions: int, rounds: int) -> list[Figure]:
    """With few processes and with many, as partitions are to keep those out of each other's way."""
    figures = []
    for crowd in CROWDS:
        whole = f"{crowd} processes, one table"
        measures = {
            whole: partial(_drain, database, executions, crowd),
            f"{crowd} processes, {PARTITIONS} partitions": partial(
                _drain_split, database, executions, crowd
            ),
        }
        figures += interleaved(measures, rounds=rounds, unit="/s", of=whole)
    return figures


def _drain(database: Database, executions: int, crowd: int) -> float:
    database.refill("bare", executions)
    return bare.drain(database.conninfo, executions, processes=crowd)


def _drain_split(database: Database, executions: int, crowd: int) -> float:
    database.sql(SPLIT)
    try:
        for number in range(PARTITIONS):
            database.sql(PART.format(number=number, of=PARTITIONS))
        return _drain(database, executions, crowd)
    finally:
        database.sql(UNITE)
