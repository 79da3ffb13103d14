"""A real `pgsched worker` on the benchmark's database, and what it costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Generator

CONFIG = """
database: {{dsn: "{conninfo}"}}
tasks: {{modules: [{modules}]}}
worker: {{processes: 2{options}}}
logging: {{level: {level}}}
"""
PATIENCE_S = 120.0


class Worker:
    """A running worker."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def pids(self) -> list[int]:
        """The supervisor and its children."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def cpu_s(self) -> float:
        """Seconds of processor time that all of them have used."""
        return sum(map(_cpu_s, self.pids()))

    def memory_mb(self) -> list[tuple[str, float, float]]:
        """Of each process: its name, its resident memory, and its fair share of what they have in common."""
        found = []
        for pid in self.pids():
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            sizes = {line.split(":")[0]: line.split()[1] for line in rollup.splitlines()[1:]}
            name = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]
            found.append((name, int(sizes["Rss"]) / 1024, int(sizes["Pss"]) / 1024))
        return found


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def worker(
    conninfo: str, *, options: str = "", level: str = "warning", modules: str = "bench.tasks"
) -> Generator[Worker]:
    """Run one until the block ends; `options` are further `worker` keys in YAML."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "pgsched.yaml")
        config.write_text(
            CONFIG.format(conninfo=conninfo, modules=modules, options=options, level=level)
        )
        with Path(folder, "log").open("wb") as log:
            command = [sys.executable, "-m", "pgsched", "worker", "--config", str(config)]
            process = subprocess.Popen(command, stderr=log)
        try:
            yield Worker(process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def drain(
    conninfo: str, task: str, executions: int, *, options: str = "", level: str = "warning"
) -> float:
    """Executions a second, from the first pick to the last completion.

    Two cores have nothing to spare for watching: the one that is picked last is watched, by its key. (Whether any is
    left, asked every 10 ms, took 8 % of the machine: that reads past all that is gone.)
    """
    own = f"select 1 from scheduled_tasks where task_name = '{task}'"
    last = f"{own} and task_instance = '{executions}' and execution_time <= now()"
    with (
        psycopg.connect(conninfo, autocommit=True) as watching,
        worker(conninfo, options=options, level=level),
    ):
        watching.execute("set enable_seqscan = off")  # past a crowd of a million others
        _wait(watching, f"{own} and picked limit 1", is_there=True)
        started = time.monotonic()
        _wait(watching, last, is_there=False)
        _wait(watching, f"{own} and execution_time <= now() limit 1", is_there=False)
        return executions / (time.monotonic() - started)


def _wait(
    connection: psycopg.Connection[tuple[object, ...]], query: str, *, is_there: bool
) -> None:
    ends = time.monotonic() + PATIENCE_S
    while bool(connection.execute(query.encode()).fetchone()) is not is_there:
        if time.monotonic() > ends:
            raise TimeoutError(query)
        time.sleep(0.005)


def wait_for_lines(path: Path, count: int) -> list[str]:
    """Wait until a file of marks has so many lines; answers them."""
    ends = time.monotonic() + PATIENCE_S
    while not path.exists() or path.read_text().count("\n") < count:
        if time.monotonic() > ends:
            raise TimeoutError(f"{count} lines in {path}")
        time.sleep(0.002)
    return path.read_text().splitlines()
