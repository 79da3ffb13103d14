"""What scheduling costs beside a bare INSERT. Goals: one 80 %, many at once 70 %, 32 clients lose under 10 %."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from bench.figures import Figure, interleaved
from pgsched import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.server import Database

ONE = (
    "insert into scheduled_tasks (task_name, task_instance) values (%s, %s) on conflict do nothing"
)
MANY = """
insert into scheduled_tasks (task_name, task_instance)
select * from unnest(%s::text[], %s::text[]) on conflict do nothing
"""
CLIENTS = 32


def scheduling(database: Database, rounds: int) -> list[Figure]:
    """One at a time, many at once, and many clients at once, each beside a bare INSERT through the same driver."""
    figures = []
    for count, ours, bare in (
        (2_000, _one, _bare_one),
        (50_000, _many, _bare_many),
        (8_000, partial(_at_once, _one), partial(_at_once, _bare_one)),
    ):
        name = NAMES[count]
        measures = {
            f"bare INSERT, {name}": partial(_timed, database, bare, count),
            f"schedule, {name}": partial(_timed, database, ours, count),
        }
        figures += interleaved(measures, rounds=rounds, unit="/s", of=f"bare INSERT, {name}")
    return figures


NAMES = {2_000: "one at a time", 50_000: "1,000 rows a call", 8_000: f"{CLIENTS} clients at once"}


def _timed(database: Database, work: Callable[[str, str, int], None], count: int) -> float:
    database.empty()
    database.settle()
    with psycopg.connect(database.conninfo, autocommit=True) as listening:
        listening.execute('listen "pgsched.scheduled_tasks"')
        started = time.monotonic()
        work(database.conninfo, "x", count)
        return count / (time.monotonic() - started)


def _one(conninfo: str, prefix: str, count: int) -> None:
    with Client(conninfo) as client:
        for n in range(count):
            client.schedule("noop-def", f"{prefix}{n}")


def _bare_one(conninfo: str, prefix: str, count: int) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for n in range(count):
            connection.execute(ONE, ("noop-def", f"{prefix}{n}"))


def _many(conninfo: str, prefix: str, count: int) -> None:
    with Client(conninfo) as client:
        for start in range(0, count, 1000):
            client.schedule_many([("noop-def", f"{prefix}{start + n}") for n in range(1000)])


def _bare_many(conninfo: str, prefix: str, count: int) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for start in range(0, count, 1000):
            instances = [f"{prefix}{start + n}" for n in range(1000)]
            connection.execute(MANY.encode(), (["noop-def"] * 1000, instances))


def _at_once(work: Callable[[str, str, int], None], conninfo: str, prefix: str, count: int) -> None:
    threads = [
        threading.Thread(target=work, args=(conninfo, f"{prefix}{number}-", count // CLIENTS))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
