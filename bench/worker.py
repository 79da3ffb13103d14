"""A real `pgsched worker` on the benchmark's database."""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from pgsched import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

CONFIG = """
database: {{dsn: "{conninfo}"}}
tasks: {{modules: [bench.tasks]}}
worker: {{processes: {processes}{options}}}
logging: {{level: warning}}
"""


@contextmanager
def worker(conninfo: str, processes: int, options: str = "") -> Generator[None]:
    """Run one until the block ends; `options` are further `worker` keys in YAML."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "pgsched.yaml")
        config.write_text(CONFIG.format(conninfo=conninfo, processes=processes, options=options))
        process = subprocess.Popen([sys.executable, "-m", "pgsched", "worker", "--config", config])
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def drain(conninfo: str, processes: int, executions: int, options: str = "") -> float:
    """Executions a second, from when the first is gone to when the last is."""
    with (
        psycopg.connect(conninfo, autocommit=True) as watching,
        worker(conninfo, processes, options),
    ):
        first, at_first = _watch(watching, lambda left: left < executions)
        _, at_last = _watch(watching, lambda left: left == 0)
        return first / (at_last - at_first)


def _watch(
    connection: psycopg.Connection[Any], is_there: Callable[[int], bool]
) -> tuple[int, float]:
    while True:
        [(left,)] = connection.execute("select count(*) from scheduled_tasks").fetchall()
        now = time.monotonic()
        if is_there(left):
            return left, now
        time.sleep(0.02)


def lateness(conninfo: str, processes: int, count: int) -> list[float]:
    """Milliseconds from the return of `schedule` to the start of the task, on an idle worker, sorted."""
    with (
        tempfile.TemporaryDirectory() as folder,
        worker(conninfo, processes),
        Client(conninfo) as client,
    ):
        marks = Path(folder, "marks")
        client.schedule("mark", "warm-up", str(marks))
        _wait_for_lines(marks, 1)
        scheduled = []
        for number in range(count):
            time.sleep(0.03)
            client.schedule("mark", str(number), str(marks))
            scheduled.append(time.time())
            _wait_for_lines(marks, number + 2)
        starts = [float(line) for line in marks.read_text().splitlines()[1:]]
        return sorted((start - at) * 1000 for start, at in zip(starts, scheduled, strict=True))


def _wait_for_lines(path: Path, count: int) -> None:
    while not path.exists() or path.read_text().count("\n") < count:
        time.sleep(0.005)


def percentile(values: list[float], share: float) -> float:
    """The value below which so large a share of sorted values lies."""
    return values[min(len(values) - 1, int(len(values) * share))]


median = statistics.median
