"""What scheduling costs beside a bare INSERT. Goals: one 80 %, many at once 70 %, 32 clients lose under 10 %."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, cast

import psycopg

from bench.figures import Figure, interleaved
from pgsched import Client
from pgsched.store.statement import Names, statements

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
    for name, count, works in (
        ("one at a time", 4_000, (_bare_one, _one, partial(_silenced, _one))),
        ("1,000 rows a call", 50_000, (_bare_many, _many)),
        (
            f"{CLIENTS} clients at once",
            16_000,
            (
                partial(_at_once, _bare_one),
                partial(_at_once, _one),
                partial(_silenced, partial(_at_once, _one)),
            ),
        ),
    ):
        labels = ("bare INSERT", "schedule", "schedule that wakes nobody")
        measures = {
            f"{label}, {name}": partial(_timed, database, work, count)
            for label, work in zip(labels, works, strict=False)
        }
        figures += interleaved(measures, rounds=rounds, unit="/s", of=f"bare INSERT, {name}")
    return figures


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


def _silenced(
    work: Callable[[str, str, int], None], conninfo: str, prefix: str, count: int
) -> None:
    """The same, but for the notification: it is made all the same, into nowhere."""
    known = cast("dict[str, bytes]", statements(Names()))
    notifying = known["schedule_one"]
    known["schedule_one"] = notifying.replace(b"pg_notify(", b"concat(")
    assert known["schedule_one"] != notifying
    try:
        work(conninfo, prefix, count)
    finally:
        known["schedule_one"] = notifying


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
