"""How late executions start. Goals: for now, p50 3 ms, p99 15 ms; ahead, p50 2 ms, p99 10 ms; at 1,000/s, p99 50 ms."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Figure, percentiles
from bench.worker import wait_for_lines, worker
from pgsched import Client

if TYPE_CHECKING:
    from collections.abc import Generator

    from bench.server import Database

STEADY_RATE = 1000


def lateness(database: Database, count: int) -> list[Figure]:
    """On an idle worker with the default polling interval, and under a steady load."""
    return [
        *percentiles("scheduled for now: schedule() returned → started", _now(database, count)),
        *percentiles("scheduled ahead: its time → started", _ahead(database, count)),
        *percentiles(
            f"at {STEADY_RATE:,}/s: schedule() returned → started", _steady(database, count * 20)
        ),
        *_spread(database),
    ]


@contextmanager
def _marking(database: Database) -> Generator[tuple[Client, Path]]:
    """A worker that has started, and the file in which its tasks leave their marks: one line is there."""
    database.empty()
    with (
        tempfile.TemporaryDirectory() as folder,
        worker(database.conninfo),
        Client(database.conninfo) as client,
    ):
        marks = Path(folder, "marks")
        client.schedule("mark", "warm-up", str(marks))
        wait_for_lines(marks, 1)
        yield client, marks


def _now(database: Database, count: int) -> list[float]:
    with _marking(database) as (client, marks):
        scheduled = {}
        for number in range(count):
            time.sleep(0.03)
            client.schedule("mark", str(number), str(marks))
            scheduled[str(number)] = time.time()
            wait_for_lines(marks, number + 2)
        return _late(wait_for_lines(marks, count + 1), scheduled)


def _ahead(database: Database, count: int) -> list[float]:
    with _marking(database) as (client, marks):
        start = datetime.now(UTC) + timedelta(seconds=1)
        times = {str(n): start + timedelta(milliseconds=37 * n) for n in range(count)}
        for number, at in times.items():
            client.schedule("mark", number, str(marks), at=at)
        lines = wait_for_lines(marks, count + 1)
        return _late(lines, {number: at.timestamp() for number, at in times.items()})


def _steady(database: Database, count: int) -> list[float]:
    with _marking(database) as (client, marks):
        started = time.monotonic()
        scheduled = {}
        for number in range(count):
            time.sleep(max(0.0, started + number / STEADY_RATE - time.monotonic()))
            client.schedule("mark", str(number), str(marks))
            scheduled[str(number)] = time.time()
        return _late(wait_for_lines(marks, count + 1), scheduled)


def _late(lines: list[str], expected: dict[str, float]) -> list[float]:
    starts = {instance: float(at) for instance, _, at in map(str.split, lines)}
    return [(starts[instance] - at) * 1000 for instance, at in expected.items()]


def _spread(database: Database) -> list[Figure]:
    """20 executions of a second for 20 slots, after thousands of quick ones: how long until the last has started."""
    with _marking(database) as (client, marks):
        client.schedule_many([("noop-def", str(n)) for n in range(5000)])
        while client.list(task="noop-def", limit=1):
            time.sleep(0.05)
        client.schedule_many([("a-second", str(n), str(marks)) for n in range(20)])
        scheduled = time.time()
        lines = [line.split() for line in wait_for_lines(marks, 21)[1:]]
        last = max(float(at) for _, _, at in lines)
        pollers = len({pid for _, pid, _ in lines})
        return [
            Figure(
                f"20 runs of 1 s, 20 slots: until the last started (on {pollers} pollers)",
                "ms",
                [(last - scheduled) * 1000],
            )
        ]
