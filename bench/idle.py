"""What a worker costs that has nothing to do, or nothing to do but wait. Goals: 0.5 % of a core; a heartbeat statement
an interval, not one an execution, and no index entry for it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from bench.figures import Figure
from bench.worker import PATIENCE_S, worker

if TYPE_CHECKING:
    from bench.server import Database

COUNTS = (
    "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
)
UPDATES = (
    "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'scheduled_tasks'"
)
RUNNING = 10_000


def idle(database: Database, seconds: float) -> list[Figure]:
    """A worker of two pollers on an empty table. Without the daily maintenance: that is no part of a usual minute."""
    database.empty()
    own = _transactions(database, seconds)
    with worker(database.conninfo, options=", maintenance_interval: null") as running:
        time.sleep(5)  # it has started, and settled
        cpu = running.cpu_s()
        made = _transactions(database, seconds) - own
        used = running.cpu_s() - cpu
        memory = running.memory_mb()
    pollers = [(rss, pss) for name, rss, pss in memory if "poller" in name]
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "pgsched", "--help"], check=True, capture_output=True)
    help_s = time.monotonic() - started
    return [
        Figure("an idle worker of two pollers", "% of a core", [used / seconds * 100]),
        Figure("its transactions", "a minute", [made / seconds * 60]),
        Figure("a poller, resident", "MB", [rss for rss, _ in pollers]),
        Figure("a poller, its share (PSS)", "MB", [pss for _, pss in pollers]),
        Figure("the whole worker (PSS)", "MB", [sum(pss for _, _, pss in memory)]),
        Figure("`pgsched --help`", "ms", [help_s * 1000]),
        _first_pick(database),
    ]


def _transactions(database: Database, seconds: float) -> int:
    """How many were made in the database meanwhile, by whomever."""
    [(before,)] = database.sql(COUNTS)
    time.sleep(seconds)
    [(after,)] = database.sql(COUNTS)
    return int(after - before)


def memory(database: Database, executions: int) -> list[Figure]:
    """Whether the pollers grow with what they have run."""
    database.empty()
    with worker(database.conninfo) as running:
        figures = []
        for number in range(10):
            database.fill("noop-async", executions // 10)
            while database.sql(
                "select 1 from scheduled_tasks where task_name = 'noop-async' limit 1"
            ):
                time.sleep(0.05)
            if number in {0, 4, 9}:
                pollers = [rss for name, rss, _ in running.memory_mb() if "poller" in name]
                figures.append(
                    Figure(f"a poller after {executions * (number + 1) // 10:,}", "MB", pollers)
                )
        return figures


def _first_pick(database: Database) -> Figure:
    database.empty()
    database.fill("noop-def", 1)
    started = time.monotonic()
    with worker(database.conninfo):
        while database.sql("select 1 from scheduled_tasks where task_name = 'noop-def'"):
            time.sleep(0.005)
        return Figure(
            "start of a worker → its first execution done",
            "ms",
            [(time.monotonic() - started) * 1000],
        )


def heartbeats(database: Database) -> list[Figure]:
    """Many executions that run for minutes: what keeping them alive costs."""
    database.empty()
    database.fill("for-minutes", RUNNING)
    options = f", concurrency: {RUNNING // 2}, batch_size: 500, heartbeat_interval: 2s, shutdown_timeout: 1s"
    with worker(database.conninfo, options=options) as running:
        ends = time.monotonic() + PATIENCE_S
        while database.sql("select count(*) from scheduled_tasks where picked") != [(RUNNING,)]:
            if time.monotonic() > ends:
                raise TimeoutError
            time.sleep(0.5)
        time.sleep(20)  # until the rows have room beside them
        (updates, hot), [(before,)], cpu = (
            database.sql(UPDATES)[0],
            database.sql(COUNTS),
            running.cpu_s(),
        )
        time.sleep(20)
        (updated, hot_updated), [(after,)] = database.sql(UPDATES)[0], database.sql(COUNTS)
        used = running.cpu_s() - cpu
    beaten, share = updated - updates, (hot_updated - hot) / max(1, updated - updates)
    return [
        Figure(f"{RUNNING:,} running: heartbeats written", "/s", [beaten / 20]),
        Figure(f"{RUNNING:,} running: transactions", "/s", [(after - before) / 20]),
        Figure(f"{RUNNING:,} running: HOT share of the updates", "%", [share * 100]),
        Figure(f"{RUNNING:,} running: the worker", "% of a core", [used / 20 * 100]),
    ]
