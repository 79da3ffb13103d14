"""`make bench`: drain rate and lateness of a real worker, beside the bare SQL loop of the same run.

Interleaved rounds, medians; figures of different machines or hours do not compare, the shares in one table do.
"""

from __future__ import annotations

import argparse
import os
import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import make_conninfo

from bench import bare, worker
from pgsched.embedded import embedded_server
from pgsched.store.migrating import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

TUNED = ", concurrency: 50, batch_size: 100"
DATABASE = "pgsched_bench"


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--executions", type=int, default=50_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with _database() as conninfo:
        _report(conninfo, arguments)


@contextmanager
def _database() -> Generator[str]:
    given = os.environ.get("PGSCHED_BENCH_DSN")
    if given:
        yield _fresh(given)
        return
    with embedded_server("embedded:.bench/postgres") as conninfo:
        yield _fresh(conninfo)


def _fresh(conninfo: str) -> str:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"drop database if exists {DATABASE}")
        connection.execute(f"create database {DATABASE}")
    ours = make_conninfo(conninfo, dbname=DATABASE)
    with psycopg.connect(ours, autocommit=True) as connection:
        migrate(connection)
    return ours


def _report(conninfo: str, arguments: argparse.Namespace) -> None:
    n, processes = arguments.executions, arguments.processes
    drains: dict[str, tuple[str, Callable[[], float]]] = {
        "bare SQL loop, 100 a pick": ("bare", lambda: bare.drain(conninfo, processes, n)),
        "async def, default config": ("noop-async", lambda: worker.drain(conninfo, processes, n)),
        "def, default config": ("noop-def", lambda: worker.drain(conninfo, processes, n)),
        "async def, 50 slots, batch 100": (
            "noop-async",
            lambda: worker.drain(conninfo, processes, n, TUNED),
        ),
        "def, 50 slots, batch 100": (
            "noop-def",
            lambda: worker.drain(conninfo, processes, n, TUNED),
        ),
    }
    rates: dict[str, list[float]] = {name: [] for name in drains}
    for _ in range(arguments.rounds):
        for name, (task, measure) in drains.items():
            _fill(conninfo, task, n)
            rates[name].append(measure())
    with psycopg.connect(conninfo) as connection:
        [(version,)] = connection.execute("show server_version").fetchall()
    print(
        f"Postgres {version}, Python {platform.python_version()}, {os.cpu_count()} cores, {processes} processes"
    )
    print(
        f"\n{'drain of ' + format(n, ',') + ' no-op executions':34} {'median/s':>9} {'of bare':>8}  runs"
    )
    limit = worker.median(rates["bare SQL loop, 100 a pick"])
    for name, runs in rates.items():
        shown = " ".join(f"{rate:,.0f}" for rate in runs)
        print(f"{name:34} {worker.median(runs):9,.0f} {worker.median(runs) / limit:8.0%}  {shown}")
    late = worker.lateness(conninfo, processes, 200)
    print("\nschedule() returned -> task started, idle worker, polling_interval 10s:", end=" ")
    print(
        ", ".join(
            f"p{share * 100:.0f} {worker.percentile(late, share):.1f} ms"
            for share in (0.5, 0.95, 0.99)
        )
    )


def _fill(conninfo: str, task: str, count: int) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("truncate scheduled_tasks")
        connection.execute(
            "insert into scheduled_tasks (task_name, task_instance)"
            " select %s, n::text from generate_series(1, %s) as n",
            (task, count),
        )
        connection.execute("vacuum analyze scheduled_tasks")
        connection.execute("checkpoint")


if __name__ == "__main__":
    main()
