"""The bare SQL loop: what Postgres does when nobody promises anything. Two processes pick 100 and finish 100."""

from __future__ import annotations

import multiprocessing
import time

import psycopg

BATCH = 100
PICK = """
update scheduled_tasks set picked = true, picked_by = %s, last_heartbeat = now(), version = version + 1
where (task_name, task_instance) in (
  select task_name, task_instance from scheduled_tasks
  where picked = false and execution_time <= now()
  order by priority desc nulls last, execution_time
  limit %s for update skip locked)
returning task_name, task_instance
"""
DELETE = """
delete from scheduled_tasks using unnest(%s::text[], %s::text[]) as held (task_name, task_instance)
where scheduled_tasks.task_name = held.task_name and scheduled_tasks.task_instance = held.task_instance
"""
RESCHEDULE = """
update scheduled_tasks set picked = false, picked_by = null, last_heartbeat = null, version = version + 1,
  execution_time = now() + interval '1 hour', last_success = now(), consecutive_failures = 0
from unnest(%s::text[], %s::text[]) as held (task_name, task_instance)
where scheduled_tasks.task_name = held.task_name and scheduled_tasks.task_instance = held.task_instance
"""


def drain(conninfo: str, executions: int, finish: str = DELETE, processes: int = 2) -> float:
    """Executions a second, from the first pick to the last that is finished."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(processes + 1)
    ends: multiprocessing.SimpleQueue[float] = context.SimpleQueue()
    workers = [
        context.Process(target=_loop, args=(conninfo, finish, str(number), ready, ends))
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    started = time.monotonic()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    return executions / (max(ends.get() for _ in workers) - started)


def _loop(
    conninfo: str,
    finish: str,
    name: str,
    ready: multiprocessing.synchronize.Barrier,
    ends: multiprocessing.SimpleQueue[float],
) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        ready.wait()
        while rows := connection.execute(PICK, (name, BATCH)).fetchall():
            names, instances = zip(*rows, strict=True)
            connection.execute(finish.encode(), (list(names), list(instances)))
        ends.put(time.monotonic())
